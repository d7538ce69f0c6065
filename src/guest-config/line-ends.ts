/** A text with its line ends normalised, and the way back to where each character stood before. */
export interface NormalizedText {
  readonly text: string;
  /** The offset in the original of the character at `offset`. */
  original(offset: number): number;
}

/** XML 1.0 (fifth edition), 2.11: CRLF and a lone CR become LF before anything is parsed. */
export function normalizeLineEnds(original: string): NormalizedText {
  /** For each CRLF, where its LF stands in the normalised text; ascending. */
  const shortened: number[] = [];
  const text = original.replace(/\r\n?/g, (lineEnd, offset: number) => {
    if (lineEnd.length === 2) shortened.push(offset - shortened.length);
    return "\n";
  });
  return { text, original: (offset) => offset + countBelow(shortened, offset) };
}

/** How many of the ascending `numbers` are less than `limit`. */
function countBelow(numbers: readonly number[], limit: number): number {
  let low = 0;
  let high = numbers.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((numbers[middle] ?? limit) < limit) low = middle + 1;
    else high = middle;
  }
  return low;
}
