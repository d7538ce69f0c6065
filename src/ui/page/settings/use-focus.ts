import { useEffect, useRef } from "react";
import { parentOf, type Pointer } from "../../form/pointer.js";

/** The id of the element that shows what `pointer` points to. */
export function idOf(pointer: Pointer): string {
  return `luksmith-setting${pointer}`;
}

/** Moves the focus to the field, or to what it is in where it has none of its own, and opens what hides it. */
export function focusField(pointer: Pointer): void {
  for (let place: Pointer | undefined = pointer; place !== undefined; place = parentOf(place)) {
    if (focusElement(idOf(place))) return;
  }
}

/** Returns a function that moves the focus to an element which may only be there after the next rendering. */
export function useFocus(): (id: string) => void {
  const wanted = useRef<string>();
  useEffect(() => {
    if (wanted.current !== undefined && focusElement(wanted.current)) wanted.current = undefined;
  });
  return (id) => {
    wanted.current = id;
  };
}

function focusElement(id: string): boolean {
  const element = document.getElementById(id);
  if (element === null) return false;
  for (let closed = element.closest("details:not([open])"); closed !== null;) {
    closed.setAttribute("open", "");
    closed = element.closest("details:not([open])");
  }
  element.focus();
  return true;
}
