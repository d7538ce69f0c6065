import { Button } from "@patternfly/react-core/dist/esm/components/Button/index.js";
import { LosingButton } from "./losing-button.js";
import type { Editor } from "./use-editor.js";

/** How the page stands, and its one button that changes the host. */
export function SaveBar({ editor }: { readonly editor: Editor }) {
  const { changed, saving, outcome, save } = editor;
  const mayNot = outcome.kind === "unread";
  return (
    <div className="luksmith-save-bar">
      <Button type="button" variant="primary" isDisabled={saving || !changed || mayNot} onClick={save}>
        Save
      </Button>
      <LosingButton
        editor={editor}
        loss="undoing"
        variant="link"
        isInline
        // after the question the focus comes back to it, and must not get lost
        isAriaDisabled={saving || !changed}
      >
        Undo all changes
      </LosingButton>
      <span role="status">{stateWords({ changed, saving, outcome })}</span>
    </div>
  );
}

function stateWords({ changed, saving, outcome }: Pick<Editor, "changed" | "saving" | "outcome">): string {
  if (saving) return "Saving…";
  if (changed) return "There are unsaved changes.";
  return outcome.kind === "saved" || outcome.kind === "unread" ? "Saved." : "Nothing has been changed.";
}
