/**
 * Marks where the focus goes when what had it is gone. Nothing there may be pressed by mistake: a heading, or a button
 * that only opens and closes.
 */
export const FOCUS_HOME = { "data-focus-home": "" } as const;

/**
 * A reading of the status, a finished job or a closed dialog takes buttons away. The browser then forgets where the
 * focus was, and whoever has no mouse begins at the top of the page again. From now on it goes to the nearest
 * {@link FOCUS_HOME}.
 */
export function keepFocus(page: Document): void {
  let last: { readonly element: HTMLElement; readonly giveBack: () => void } | undefined;
  page.addEventListener("focusin", ({ target }) => {
    if (target instanceof HTMLElement) last = { element: target, giveBack: focusedAgain(target) };
  });
  page.addEventListener("focusout", ({ target }) => {
    // taken from an element that stays, by a click beside it: nobody wants it back
    queueMicrotask(() => {
      if (last?.element === target && last.element.isConnected) last = undefined;
    });
  });
  new MutationObserver(() => {
    if (last === undefined || last.element.isConnected || page.activeElement !== page.body) return;
    const { giveBack } = last;
    last = undefined;
    giveBack();
  }).observe(page.body, { childList: true, subtree: true });
}

/** Remembers where `element` is. @returns what gives it the focus, or the nearest {@link FOCUS_HOME} if it is gone */
export function focusedAgain(element: HTMLElement): () => void {
  const around: HTMLElement[] = [];
  for (let place = element.parentElement; place !== null; place = place.parentElement) around.push(place);
  return () => {
    if (hasTaken(element)) return;
    for (const place of around) {
      if (!place.isConnected) continue;
      const home = place.querySelector<HTMLElement>("[data-focus-home]");
      if (home !== null && hasTaken(home)) return;
    }
  };
}

/** @returns false where the element is gone, hidden or not to be focused */
function hasTaken(element: HTMLElement): boolean {
  element.focus();
  return element.ownerDocument.activeElement === element;
}
