import { LuksmithError } from "../../error/luksmith-error.js";
import type { KeyEscrow } from "../../generated/key-escrow.js";
import isKeyEscrow from "../../generated/validate-key-escrow.cjs";
import { isUtf8 } from "node:buffer";
import { base64 } from "../../secret/base64.js";
import { Secret } from "../../secret/secret.js";
import type { Key } from "../keystore.js";

const FORMAT = "luksmith-key-escrow";
const VERSION = 1;

export interface EscrowKey extends Key {
  /** Name of the keystore that has it. */
  readonly keystore: string;
}

/**
 * The plaintext of an escrow file, as schemas/key-escrow.schema.json has it, one key a line. No passphrase becomes a
 * string on the way, since strings cannot be wiped.
 */
export function writeEscrow(keys: readonly EscrowKey[], now: Date): Secret {
  const head = JSON.stringify({ format: FORMAT, version: VERSION, createdAt: now.toISOString() });
  const lines = keys.map(line);
  try {
    const parts = lines.flatMap((bytes, index) => [Buffer.from(index === 0 ? "\n" : ",\n"), bytes]);
    return Secret.own(
      Buffer.concat([Buffer.from(`${head.slice(0, -1)},"keys":[`), ...parts, Buffer.from("\n]}\n")]),
    );
  } finally {
    for (const bytes of lines) bytes.fill(0);
  }
}

/**
 * The keys of an escrow file's plaintext, all valid; the caller disposes of their passphrases. The parser makes strings
 * of them, which stay in this process's memory until they are reused.
 * @throws ESCROW_INVALID, which quotes nothing of what it has read
 */
export function readEscrow(plaintext: Secret): EscrowKey[] {
  const value = parse(plaintext);
  if (!isKeyEscrow(value)) throw invalid(reasonAgainst(value));
  const { keys } = value as KeyEscrow;
  const seen = new Set<string>();
  for (const { record } of keys) {
    if (seen.has(record.uuid)) throw invalid(`it has two keys ${record.uuid}`);
    seen.add(record.uuid);
  }
  return keys.map(({ keystore, record, passphrase, passphraseBase64 }) => ({
    keystore,
    record,
    passphrase: Secret.own(
      passphrase === undefined ? Buffer.from(passphraseBase64 ?? "", "base64") : Buffer.from(passphrase),
    ),
  }));
}

export function invalid(why: string): LuksmithError {
  return new LuksmithError("ESCROW_INVALID", {
    what: "this is no file of luksmith keys export, or it is damaged",
    why,
    hint: "nothing was stored; use another copy of the file",
  });
}

function line({ keystore, record, passphrase }: EscrowKey): Buffer {
  const open = Buffer.from(JSON.stringify({ keystore, record }).slice(0, -1));
  return passphrase.use((bytes) => {
    const text = jsonText(bytes);
    const member = text === undefined ? "passphraseBase64" : "passphrase";
    const value = text ?? base64(bytes);
    const all = Buffer.concat([open, Buffer.from(`,"${member}":"`), value, Buffer.from(`"}`)]);
    value.fill(0);
    return all;
  });
}

/** The bytes as they stand inside of a JSON string, or undefined where that takes more than a backslash. */
function jsonText(bytes: Buffer): Buffer | undefined {
  if (!isUtf8(bytes) || bytes.some((byte) => byte < 0x20 || byte === 0x7f)) return undefined;
  const special = (byte: number) => byte === QUOTE || byte === BACKSLASH;
  const text = Buffer.alloc(bytes.length + bytes.filter(special).length);
  let at = 0;
  for (const byte of bytes) {
    if (special(byte)) text[at++] = BACKSLASH;
    text[at++] = byte;
  }
  return text;
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

function parse(plaintext: Secret): unknown {
  try {
    return plaintext.use(
      (bytes) => JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes)) as unknown,
    );
  } catch {
    // the parser's own words quote what stands there
    throw invalid("what was encrypted is not JSON");
  }
}

function reasonAgainst(value: unknown): string {
  const { format, version } = (typeof value === "object" && value !== null ? value : {}) as Partial<
    Record<keyof KeyEscrow, unknown>
  >;
  if (format === FORMAT && typeof version === "number" && version > VERSION) {
    return `its format has version ${version}, of a newer luksmith`;
  }
  const error = isKeyEscrow.errors?.[0];
  return `${error?.instancePath ?? ""} ${error?.message ?? "does not match the schema"}`.trim();
}
