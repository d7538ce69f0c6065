import type { Luks1Header, LuksKeyslot } from "./luks-header.js";
import {
  isNullCipher,
  KEY_LENGTHS,
  LEAST_ITERATIONS,
  luksUuidAt,
  MOST_ITERATIONS,
  STRIPES,
  textAt,
} from "./luks-field.js";

const HEADER_LENGTH = 592;
const SECTOR = 512;
const KEYSLOTS = { offset: 208, length: 48, count: 8 };
const KEYSLOT_ACTIVE = 0x00ac71f3;
const KEYSLOT_INACTIVE = 0x0000dead;

/**
 * Reads a header of LUKS version 1 (LUKS On-Disk Format Specification 1.2.3, "PHDR layout") behind magic and version.
 * @returns it, or why it cannot be used
 */
export function readLuks1Header(bytes: Buffer): Luks1Header | string {
  if (bytes.length < HEADER_LENGTH) return "the LUKS header is cut off";

  const cipherName = textAt(bytes, 8, 32, /^[a-z0-9_]+$/);
  const cipherMode = textAt(bytes, 40, 32, /^[a-z0-9]+(-[a-z0-9:]+)?$/);
  const hash = textAt(bytes, 72, 32, /^[a-z0-9-]+$/);
  if (cipherName === undefined || cipherMode === undefined) return "the LUKS header names no cipher";
  const cipher = `${cipherName}-${cipherMode}`;
  if (isNullCipher(cipher)) return "the LUKS header names a cipher that does not encrypt";
  if (hash === undefined) return "the LUKS header names no hash";
  const uuid = luksUuidAt(bytes);
  if (uuid === undefined) return "the LUKS header has no valid UUID";

  const payloadOffset = bytes.readUInt32BE(104) * SECTOR;
  const keyBytes = bytes.readUInt32BE(108);
  if (!KEY_LENGTHS.includes(keyBytes)) return `a volume key of ${keyBytes} bytes is impossible`;
  const unfit = unfitIterations(bytes.readUInt32BE(164));
  if (unfit !== undefined) return `the volume key's digest has ${unfit}`;

  const keyslots: LuksKeyslot[] = [];
  for (let index = 0; index < KEYSLOTS.count; index++) {
    const keyslot = readKeyslot(bytes, KEYSLOTS.offset + index * KEYSLOTS.length);
    if (typeof keyslot === "string") return `keyslot ${index} ${keyslot}`;
    keyslots.push(keyslot);
  }
  const misplaced = misplacedKeyslot(keyslots, keyBytes * STRIPES, payloadOffset);
  if (misplaced !== undefined) return misplaced;
  if (!keyslots.some((keyslot) => keyslot.active)) return "no keyslot is active, so no passphrase opens it";

  return { version: 1, uuid, cipher, hash, keySize: keyBytes * 8, payloadOffset, keyslots };
}

function readKeyslot(bytes: Buffer, at: number): LuksKeyslot | string {
  const state = bytes.readUInt32BE(at);
  if (state !== KEYSLOT_ACTIVE && state !== KEYSLOT_INACTIVE) return "is neither active nor inactive";
  const active = state === KEYSLOT_ACTIVE;
  const iterations = bytes.readUInt32BE(at + 4);
  const unfit = unfitIterations(iterations);
  if (active && unfit !== undefined) return `has ${unfit}`;
  const stripes = bytes.readUInt32BE(at + 44);
  if (stripes !== STRIPES) return `has ${stripes} stripes instead of ${STRIPES}`;
  return { active, iterations, offset: bytes.readUInt32BE(at + 40) * SECTOR, stripes };
}

/** Why it is no number of iterations, in words. */
function unfitIterations(iterations: number): string | undefined {
  if (iterations < LEAST_ITERATIONS) return `too few iterations: ${iterations}`;
  return iterations > MOST_ITERATIONS ? `too many iterations: ${iterations}` : undefined;
}

/** A keyslot whose key material lies over the header, the payload or another keyslot's, in words. */
function misplacedKeyslot(keyslots: readonly LuksKeyslot[], length: number, payloadOffset: number) {
  for (const [index, { offset }] of keyslots.entries()) {
    if (offset < HEADER_LENGTH) return `keyslot ${index} lies over the header`;
    if (offset + length > payloadOffset) return `keyslot ${index} lies over the payload`;
    const other = keyslots.findIndex((k, i) => i > index && Math.abs(k.offset - offset) < length);
    if (other !== -1) return `keyslots ${index} and ${other} lie over each other`;
  }
  return undefined;
}
