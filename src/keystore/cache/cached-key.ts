import type { CachedKeyFile } from "../../generated/cached-key.js";
import type { KeyRecord } from "../../generated/key-record.js";
import isCachedKeyFile from "../../generated/validate-cached-key.cjs";
import type { Secret } from "../../secret/secret.js";
import { type Context, open, sealKey } from "../file/stored-key.js";
import type { Key } from "../keystore.js";
import type { KeyUuid } from "../key-uuid.js";
import type { Instant } from "./instant.js";

/** What a copy says about itself; only `openCopy` tells whether it is true. */
export interface Copy {
  readonly keystore: string;
  /** Where that was, as `originOf` says it. */
  readonly origin: string;
  readonly fetched: Instant;
  readonly record: KeyRecord;
  /** The id of the master key that it is sealed under. */
  readonly masterKey: string;
  readonly file: CachedKeyFile;
}

/** The bytes of a copy of `key`. */
export function sealCopy(
  key: Key,
  { keystore, origin, fetched: { at, boot, uptime } }: Pick<Copy, "keystore" | "origin" | "fetched">,
  masterKey: Secret,
): Buffer {
  const context = { keystore, origin, fetchedAt: at.toISOString(), boot, uptime };
  const file: CachedKeyFile = { version: 1, ...context, key: sealKey(key, masterKey, context) };
  return Buffer.from(`${JSON.stringify(file)}\n`);
}

/** Undefined for bytes that are no copy of this key. */
export function parseCopy(bytes: Buffer, uuid: KeyUuid): Copy | undefined {
  const value = parseJson(bytes);
  if (!isCachedKeyFile(value)) return undefined;
  const file = value as CachedKeyFile;
  const { keystore, origin, fetchedAt, boot, uptime, key } = file;
  if (key.record.uuid !== uuid) return undefined;
  const fetched = { at: new Date(fetchedAt), boot, uptime };
  return { keystore, origin, fetched, record: key.record, masterKey: key.masterKey, file };
}

/** The passphrase, or undefined if anything in the copy was changed; `masterKey` is the one that it names. */
export function openCopy({ file }: Copy, masterKey: Secret): Secret | undefined {
  const { keystore, origin, fetchedAt, boot, uptime, key } = file;
  return open(key, masterKey, { keystore, origin, fetchedAt, boot, uptime } satisfies Context);
}

function parseJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes));
  } catch {
    return undefined;
  }
}
