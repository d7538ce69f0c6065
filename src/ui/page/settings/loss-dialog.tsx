import { Button } from "@patternfly/react-core/dist/esm/components/Button/index.js";
import type { UiApi } from "../../api/ui-api.js";
import type { Loss } from "../../form/losses.js";
import { Dialog } from "../dialog.js";
import { type ConsentWords, LostKeys } from "./lost-keys.js";
import type { Editor } from "./use-editor.js";
import { useStatusAsked } from "./use-status-asked.js";

interface Props {
  readonly api: UiApi;
  readonly loss: Loss;
  readonly editor: Pick<Editor, "saveWithout" | "dontSave">;
}

const WORDS: ConsentWords = {
  button: "Save",
  purpose: "to save",
  note: "Nothing has been saved yet.",
};

/** Asks before a save after which keys are out of reach. */
export function LossDialog({ api, loss, editor: { saveWithout, dontSave } }: Props) {
  const asked = useStatusAsked(api, "needed");
  const { name } = loss;
  return (
    <Dialog title={`Save without the keys in ${name}`} onClose={dontSave}>
      <p>{reasonOf(loss)}</p>
      <LostKeys names={[name]} name={name} asked={asked} words={WORDS} confirm={() => saveWithout(name)} />
      <div className="luksmith-buttons">
        <Button variant="link" onClick={dontSave}>
          Do not save
        </Button>
      </div>
    </Dialog>
  );
}

function reasonOf({ name, why }: Loss): string {
  switch (why) {
    case "gone":
      return `In these settings no keystore is called ${name} any more. Disks find their key by that name.`;
    case "type":
      return `In these settings ${name} is another kind of keystore. Keys stay where they were, and are not looked for there.`;
    case "directory":
      return `In these settings ${name} has another directory. Keys stay in the old one, and are not looked for there.`;
  }
}
