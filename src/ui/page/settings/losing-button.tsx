import { Button, type ButtonProps } from "@patternfly/react-core/dist/esm/components/Button/index.js";
import { useState } from "react";
import { UnsavedQuestion } from "../shell/unsaved-question.js";
import type { Editor } from "./use-editor.js";

interface Props extends Omit<ButtonProps, "onClick"> {
  readonly editor: Pick<Editor, "changed" | "undo" | "load">;
  readonly loss: "undoing" | "loading";
}

/** Drops what was typed, after a question where there is something to drop. */
export function LosingButton({ editor, loss, ...button }: Props) {
  const [asking, setAsking] = useState(false);
  const act = loss === "undoing" ? editor.undo : editor.load;
  return (
    <>
      <Button {...button} onClick={editor.changed ? () => setAsking(true) : act} />
      {asking && (
        <UnsavedQuestion
          loss={loss}
          lose={() => {
            setAsking(false);
            act();
          }}
          keep={() => setAsking(false)}
        />
      )}
    </>
  );
}
