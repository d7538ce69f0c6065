import { type ReactNode, useEffect, useId, useRef } from "react";
import { FOCUS_HOME, focusedAgain } from "./shell/kept-focus.js";

interface Props {
  readonly title: string;
  readonly onClose: () => void;
  readonly children: ReactNode;
}

/** A native modal dialog: the browser keeps the focus in it, closes it with Escape, and gives the focus back. */
export function Dialog({ title, onClose, children }: Props) {
  const place = useRef<HTMLDialogElement>(null);
  const heading = useId();
  useEffect(() => {
    const dialog = place.current;
    const before = document.activeElement;
    const giveBack = before instanceof HTMLElement ? focusedAgain(before) : undefined;
    dialog?.showModal();
    return () => {
      dialog?.close();
      // removed together with the dialog, the browser would forget it
      giveBack?.();
    };
  }, []);
  return (
    <dialog
      ref={place}
      className="luksmith-dialog"
      aria-labelledby={heading}
      onCancel={(event) => {
        // whether it is shown is the page's state
        event.preventDefault();
        onClose();
      }}
    >
      <h2 id={heading} className="luksmith-dialog-title" tabIndex={-1} {...FOCUS_HOME}>
        {title}
      </h2>
      {children}
    </dialog>
  );
}
