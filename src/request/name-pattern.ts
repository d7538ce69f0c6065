/**
 * Whether all of `text` matches an operator's pattern: `*` stands for any text, also none and also with slashes, `?`
 * for one character, all else for itself. No regular expression: the text comes from guests, and this needs at most
 * pattern × text steps.
 */
export function matchesPattern(pattern: string, text: string): boolean {
  const wanted = Array.from(pattern);
  const given = Array.from(text);
  let at = 0;
  let next = 0;
  /** Where to go on when the characters after the last star do not match: that star then takes one more. */
  let star: { readonly after: number; taken: number } | undefined;
  while (next < given.length) {
    if (wanted[at] === "*") {
      at += 1;
      star = { after: at, taken: next };
    } else if (at < wanted.length && (wanted[at] === "?" || wanted[at] === given[next])) {
      at += 1;
      next += 1;
    } else if (star !== undefined) {
      star.taken += 1;
      at = star.after;
      next = star.taken;
    } else {
      return false;
    }
  }
  return wanted.slice(at).every((character) => character === "*");
}
