import { Button } from "@patternfly/react-core/dist/esm/components/Button/index.js";
import { useState } from "react";
import type { SettingsGetOutput } from "../../../generated/settings-get.js";
import type { UiApi } from "../../api/ui-api.js";
import type { Change } from "../../form/changes.js";
import { draftOf } from "../../form/draft.js";
import { merge } from "../../form/merge.js";
import { changeWords } from "../../form/words.js";
import { FORM } from "./form.js";
import { LosingButton } from "./losing-button.js";
import { Notice } from "./notice.js";
import { Trouble } from "./trouble.js";
import type { Editor } from "./use-editor.js";

interface Props {
  readonly api: UiApi;
  readonly editor: Editor;
}

/** Somebody else was faster: nothing was saved, and nothing that was typed is lost. */
export function LostRace({ api, editor }: Props) {
  const [theirs, setTheirs] = useState<SettingsGetOutput>();
  const [error, setError] = useState<unknown>();
  const show = () => {
    setError(undefined);
    api.settings().then(setTheirs, setError);
  };
  return (
    <>
      <Notice tone="warning" title="Not saved: somebody else has changed the settings since you opened them">
        <p>
          Saving now would undo what they did. What you typed is still here: look at it beside the new
          settings, or drop it and start from them.
        </p>
        <div className="luksmith-buttons">
          <Button variant="primary" onClick={show}>
            Show my changes
          </Button>
          <LosingButton editor={editor} loss="loading" variant="secondary">
            Load the new settings
          </LosingButton>
        </div>
      </Notice>
      {error !== undefined && <Trouble error={error} title="The new settings could not be read" />}
      {theirs !== undefined && <MyChanges editor={editor} theirs={theirs} />}
    </>
  );
}

/** What differs, and how to go on. */
export function MyChanges({
  editor,
  theirs,
}: {
  readonly editor: Editor;
  readonly theirs: SettingsGetOutput;
}) {
  const { base, edited } = editor.draft;
  const { mine, overlapping, withAll, withoutOverlap } = merge(FORM, {
    base,
    mine: edited,
    theirs: draftOf(theirs).base,
  });
  if (mine.length === 0) {
    return (
      <Notice tone="info" title="The new settings say already what you typed.">
        <Button variant="secondary" onClick={editor.load}>
          Load them
        </Button>
      </Notice>
    );
  }
  return (
    <section aria-label="My changes">
      <ul className="luksmith-changes">
        {mine.map((change) =>
          changeWords(FORM, isGone(change) ? base : edited, change).map(({ place, before, after }) => (
            <li key={`${change.kind} ${place}`}>
              <strong>{place}</strong>: {before} → {after}
              {overlapping.includes(change) && <em> (they have changed this as well)</em>}
            </li>
          )),
        )}
      </ul>
      <div className="luksmith-buttons">
        {overlapping.length === 0 ? (
          <Button variant="primary" onClick={() => editor.continueFrom(theirs, withAll)}>
            Put my changes on top of the new settings
          </Button>
        ) : (
          <>
            <Button variant="primary" onClick={() => editor.continueFrom(theirs, withoutOverlap)}>
              Take theirs where both changed the same
            </Button>
            <Button variant="secondary" onClick={() => editor.continueFrom(theirs, withAll)}>
              Take mine where both changed the same
            </Button>
          </>
        )}
      </div>
    </section>
  );
}

function isGone(change: Change): boolean {
  return change.kind !== "order" && change.after === undefined;
}
