import { randomFillSync } from "node:crypto";
import { Secret } from "../../secret/secret.js";

/** Crockford's base 32: no I, L, O, U, so that nothing on paper is taken for something else. */
const ALPHABET = Buffer.from("0123456789ABCDEFGHJKMNPQRSTVWXYZ", "latin1");
const GROUPS = 8;
/** Characters of a group that mean something; one more tells whether they were typed right. */
const MEANINGFUL = 4;
const GROUP = MEANINGFUL + 1;

/** What somebody typed. */
export type TypedPassphrase =
  | { readonly kind: "passphrase"; readonly passphrase: Secret }
  /** `reason` completes the sentence "the recovery passphrase …". */
  | { readonly kind: "mistyped"; readonly reason: string };

/** A new passphrase: 160 random bits as 40 characters without separators. */
export function newRecoveryPassphrase(): Secret {
  const random = randomFillSync(Buffer.alloc(GROUPS * MEANINGFUL));
  const text = Buffer.alloc(GROUPS * GROUP);
  for (let group = 0; group < GROUPS; group++) {
    const values = random.subarray(group * MEANINGFUL, (group + 1) * MEANINGFUL).map((byte) => byte & 31);
    text.set(values.map(characterOf), group * GROUP);
    text[group * GROUP + MEANINGFUL] = characterOf(checkOf(values, group));
    values.fill(0);
  }
  random.fill(0);
  return Secret.own(text);
}

/** As people read it: eight groups of five, with a newline; the caller wipes it. */
export function printed(passphrase: Secret): Buffer {
  return passphrase.use((text) => {
    const line = Buffer.alloc(text.length + GROUPS, "-");
    for (let group = 0; group < GROUPS; group++) {
      line.set(text.subarray(group * GROUP, (group + 1) * GROUP), group * (GROUP + 1));
    }
    line[line.length - 1] = 0x0a;
    return line;
  });
}

/** Takes lower case, any spaces and dashes, and O, I, L for 0 and 1. Wipes `typed`. */
export function parseRecoveryPassphrase(typed: Buffer): TypedPassphrase {
  const text = Buffer.alloc(GROUPS * GROUP);
  let length = 0;
  try {
    for (const byte of typed) {
      if (SEPARATORS.includes(byte)) continue;
      const value = valueOf(byte);
      if (value === undefined)
        return mistyped("has a character that none has: they are digits and letters, without U");
      if (length < text.length) text[length] = characterOf(value);
      length += 1;
    }
    if (length !== text.length) return mistyped(`has ${text.length} letters and digits, and not ${length}`);
    for (let group = 0; group < GROUPS; group++) {
      const values = text.subarray(group * GROUP, (group + 1) * GROUP).map((byte) => valueOf(byte) ?? 0);
      const isRight = values[MEANINGFUL] === checkOf(values.subarray(0, MEANINGFUL), group);
      values.fill(0);
      if (!isRight) return mistyped(`is mistyped in group ${group + 1}`);
    }
    return { kind: "passphrase", passphrase: Secret.own(Buffer.from(text)) };
  } finally {
    typed.fill(0);
    text.fill(0);
  }
}

const SEPARATORS = Buffer.from(" -\t\r\n", "latin1");

function valueOf(byte: number): number | undefined {
  const upper = byte >= 0x61 && byte <= 0x7a ? byte - 0x20 : byte;
  const meant = upper === 0x4f ? 0x30 : upper === 0x49 || upper === 0x4c ? 0x31 : upper;
  const value = ALPHABET.indexOf(meant);
  return value === -1 ? undefined : value;
}

function characterOf(value: number): number {
  return ALPHABET[value] ?? 0;
}

/**
 * A check character: a polynomial over the field of 32 elements, so that any one wrong character, any two that were
 * swapped, and a group in another group's place are noticed.
 */
function checkOf(values: Uint8Array, group: number): number {
  return values.reduce((sum, value) => timesTwo(sum ^ value), group + 1);
}

/** In GF(32) with the polynomial x⁵ + x² + 1. */
function timesTwo(value: number): number {
  const shifted = value << 1;
  return shifted & 32 ? shifted ^ 0b100101 : shifted;
}

function mistyped(reason: string): TypedPassphrase {
  return { kind: "mistyped", reason };
}
