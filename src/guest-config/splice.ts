/** Puts `text` where `start` to `end` was, in UTF-16 units. */
export interface Splice {
  readonly start: number;
  readonly end: number;
  readonly text: string;
}

/** The splices must not overlap. */
export function applySplices(original: string, splices: readonly Splice[]): string {
  const pieces: string[] = [];
  let done = 0;
  for (const { start, end, text } of splices.toSorted((a, b) => a.start - b.start)) {
    pieces.push(original.slice(done, start), text);
    done = end;
  }
  return pieces.join("") + original.slice(done);
}
