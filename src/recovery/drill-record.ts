import { join } from "node:path";
import { makeDirectory, replaceFile } from "../fs/atomic-file.js";
import { PRIVATE_DIRECTORY, PRIVATE_FILE, readGuardedFile } from "../fs/guarded-file.js";
import { ifThere } from "../fs/if-there.js";
import type { KeyUuid } from "../keystore/key-uuid.js";

/** How a disk's last drill ended, as this host remembers. */
export interface DrillRecord {
  readonly at: Date;
  readonly result: "passed" | "failed";
}

/** Beside the other things that this host remembers for good. */
const DIRECTORY = "/var/lib/luksmith/drills";
const LIMIT = 4096;

/** Undefined where no drill of this key's volume was held on this host, or nothing of it can be read. */
export function lastDrillOf(uuid: KeyUuid, directory = DIRECTORY): DrillRecord | undefined {
  // who asks shows a list of guests: a damaged file there is no reason to show none
  const bytes = ifThere(() => readGuardedFile(join(directory, `${uuid}.json`), PRIVATE_FILE, LIMIT));
  if (bytes === undefined) return undefined;
  const { at, result } = fieldsOf(bytes);
  if (typeof at !== "string" || (result !== "passed" && result !== "failed")) return undefined;
  const date = new Date(at);
  return Number.isNaN(date.getTime()) ? undefined : { at: date, result };
}

/** For good. @throws Node's system errors */
export function recordDrill(uuid: KeyUuid, { at, result }: DrillRecord, directory = DIRECTORY): void {
  makeDirectory(directory, PRIVATE_DIRECTORY.mode);
  const text = `${JSON.stringify({ version: 1, at: at.toISOString(), result })}\n`;
  replaceFile(join(directory, `${uuid}.json`), Buffer.from(text), PRIVATE_FILE.mode);
}

function fieldsOf(bytes: Buffer): { readonly at?: unknown; readonly result?: unknown } {
  try {
    const value: unknown = JSON.parse(bytes.toString());
    return typeof value === "object" && value !== null ? value : {};
  } catch {
    return {};
  }
}
