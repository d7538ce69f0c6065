import { Button } from "@patternfly/react-core/dist/esm/components/Button/index.js";
import { useEffect } from "react";
import { HomeError } from "../../api/transport.js";
import type { UiApi } from "../../api/ui-api.js";
import { placeWords } from "../../form/words.js";
import { FORM } from "./form.js";
import { LosingButton } from "./losing-button.js";
import { LostRace } from "./lost-race.js";
import { Notice } from "./notice.js";
import { Trouble } from "./trouble.js";
import type { Editor } from "./use-editor.js";
import { focusField } from "./use-focus.js";

const ID = "luksmith-outcome";

interface Props {
  readonly api: UiApi;
  readonly editor: Editor;
}

/** What became of the last save. The focus goes there, so that nobody has to look for it. */
export function OutcomeNotice({ api, editor }: Props) {
  const { outcome } = editor;
  useEffect(() => {
    if (outcome.kind !== "none") document.getElementById(ID)?.focus();
  }, [outcome]);
  return (
    <div id={ID} tabIndex={-1} role="group" aria-label="Result of the last save" className="luksmith-outcome">
      <OutcomeWords api={api} editor={editor} />
    </div>
  );
}

function OutcomeWords({ api, editor }: Props) {
  const { outcome } = editor;
  switch (outcome.kind) {
    case "none":
      return null;
    case "saved":
      return (
        <>
          <Notice tone="success" title="The settings are saved. Hooks use them from the next event on." />
          {outcome.warnings.map((warning) => (
            <Notice key={warning} tone="warning" title={warning} />
          ))}
        </>
      );
    case "invalid":
      return <ProblemSummary editor={editor} />;
    case "failed":
      return (
        <Trouble error={outcome.error} title={failureTitle(outcome.error)}>
          <p>What you typed is still here, and saving it again does no harm.</p>
        </Trouble>
      );
    case "unread":
      return (
        <Trouble error={outcome.error} title="The settings are saved, but could not be read again">
          <LosingButton editor={editor} loss="loading" variant="secondary">
            Read them again
          </LosingButton>
        </Trouble>
      );
    case "lost":
      return <LostRace api={api} editor={editor} />;
    case "merged":
      return (
        <Notice
          tone="info"
          title="Your changes are on top of the new settings, and not saved yet. Look at them, then save."
        />
      );
  }
}

/** Where no answer came, the host may have done it all the same. */
function failureTitle(error: unknown): string {
  const isOpen = error instanceof HomeError && (error.reason === "unreachable" || error.reason === "broken");
  return isOpen ? "Nobody knows whether the settings were saved" : "The settings were not saved";
}

/** Everything that is wrong; each line leads to its field. */
function ProblemSummary({ editor: { problems, draft } }: { readonly editor: Editor }) {
  if (problems.length === 0)
    return <Notice tone="info" title="Everything that was wrong is put right. Save again." />;
  const title =
    problems.length === 1
      ? "Not saved: one thing is wrong"
      : `Not saved: ${problems.length} things are wrong`;
  return (
    <Notice tone="danger" title={title}>
      <ul>
        {problems.map(({ pointer, sentence }) => (
          <li key={`${pointer} ${sentence}`}>
            <Button variant="link" isInline onClick={() => focusField(pointer)}>
              {placeWords(FORM, draft.edited, pointer)}
            </Button>
            {`: ${sentence}`}
          </li>
        ))}
      </ul>
    </Notice>
  );
}
