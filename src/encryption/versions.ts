import type { AskVersions } from "./encryption-provider.js";

/** The same question, put to the host manager once at most, and not before somebody wants to know. */
export function askedOnce(ask: AskVersions): AskVersions {
  let answer: ReturnType<AskVersions> | undefined;
  return () => (answer ??= ask());
}

/**
 * Compares dotted version numbers, `10.1.0` with `7.2.22`: negative, 0 or positive as `a` is older than, as old as
 * or newer than `b`. A missing part counts as 0, and what follows the numbers (`2.6.0-rc1`, `7.2 (Debian)`) is not
 * looked at. A text that has no number is older than all.
 */
export function compareVersions(a: string, b: string): number {
  const left = numbersOf(a);
  const right = numbersOf(b);
  for (let part = 0; part < Math.max(left.length, right.length); part++) {
    const difference = (left[part] ?? 0) - (right[part] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

function numbersOf(version: string): number[] {
  const numbers = /^\d+(\.\d+)*/.exec(version)?.[0];
  return numbers === undefined ? [] : numbers.split(".").map(Number);
}
