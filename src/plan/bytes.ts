/** Sizes as people write and read them. Units are binary: K is 1024 bytes. */

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

/** `64 MiB`, `20478 MiB`: the largest binary unit that says it exactly, since a guest's disk is seldom a round size. */
export function formatBytes(bytes: number | bigint): string {
  let value = BigInt(bytes);
  let unit = 0;
  while (value !== 0n && value % 1024n === 0n && unit < UNITS.length - 1) {
    value /= 1024n;
    unit++;
  }
  return `${value} ${UNITS[unit] ?? ""}`;
}

/** `10737418240`, `10G`, `10GiB`: nothing that could be meant as a decimal unit. */
const SIZE = /^([0-9]{1,16})(?:([KMGTP])(?:iB)?|B)?$/i;
const LETTERS = "KMGTP";
/** Node takes offsets and lengths of files as numbers. */
const LARGEST = BigInt(Number.MAX_SAFE_INTEGER);

/** The bytes that `text` means, more than none; undefined if it is no size, or one of 8 PiB or more. */
export function parseBytes(text: string): bigint | undefined {
  const [, digits, letter = ""] = SIZE.exec(text) ?? [];
  if (digits === undefined) return undefined;
  const power = letter === "" ? 0 : LETTERS.indexOf(letter.toUpperCase()) + 1;
  const bytes = BigInt(digits) * 1024n ** BigInt(power);
  return bytes > 0n && bytes <= LARGEST ? bytes : undefined;
}
