import { Button } from "@patternfly/react-core/dist/esm/components/Button/index.js";
import { Dialog } from "../dialog.js";

interface Props {
  readonly loss: Loss;
  readonly lose: () => void;
  readonly keep: () => void;
}

/** What would lose changes that are not saved. */
type Loss = "leaving" | "undoing" | "loading";

/** Asks before what somebody typed is lost. */
export function UnsavedQuestion({ loss, lose, keep }: Props) {
  const words = WORDS[loss];
  return (
    <Dialog title={words.title} onClose={keep}>
      <p>The settings have changes that are not saved. They are lost if you {words.act}.</p>
      <div className="luksmith-buttons">
        <Button onClick={keep}>{words.keep}</Button>
        <Button variant="secondary" onClick={lose}>
          {words.lose}
        </Button>
      </div>
    </Dialog>
  );
}

const WORDS = {
  leaving: {
    title: "Leave without saving?",
    act: "leave",
    keep: "Stay",
    lose: "Leave without saving",
  },
  undoing: {
    title: "Undo without saving?",
    act: "undo them",
    keep: "Keep them",
    lose: "Undo without saving",
  },
  loading: {
    title: "Load without saving?",
    act: "load the settings of the host",
    keep: "Keep them",
    lose: "Load without saving",
  },
} satisfies Record<Loss, Record<"title" | "act" | "keep" | "lose", string>>;
