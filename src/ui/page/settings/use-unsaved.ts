import { useEffect } from "react";

let unsaved = false;

/** Whether leaving the page would lose what somebody typed: the shell asks before it shows another one. */
export function hasUnsaved(): boolean {
  return unsaved;
}

/** Keeps what is typed from being lost: the browser asks before it leaves, and hasUnsaved() tells the shell. */
export function useUnsaved(state: "unsaved" | "saved"): void {
  useEffect(() => {
    if (state === "saved") return;
    unsaved = true;
    window.addEventListener("beforeunload", refuse);
    return () => {
      unsaved = false;
      window.removeEventListener("beforeunload", refuse);
    };
  }, [state]);
}

function refuse(event: BeforeUnloadEvent): void {
  event.preventDefault();
}
