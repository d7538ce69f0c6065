import { LuksmithError } from "../../error/luksmith-error.js";
import { PRIVATE_FILE, readGuardedFile } from "../../fs/guarded-file.js";
import { systemErrorOf } from "../../fs/system-error.js";
import { Secret } from "../../secret/secret.js";

/** Bytes of an identity file; one line of it has less than 100, or 2 KiB for a hybrid one. */
const LIMIT = 64 * 1024;

/** An identity file of age-keygen, for root alone; the caller disposes of it. @throws IDENTITY_REJECTED, PERMISSIONS_UNSAFE */
export function readIdentities(path: string): Secret {
  try {
    const bytes = readGuardedFile(path, PRIVATE_FILE, LIMIT);
    if (bytes !== undefined) return Secret.own(bytes);
    throw unreadable(path, "there is no such file");
  } catch (thrown) {
    const failure = systemErrorOf(thrown);
    throw failure === undefined ? thrown : unreadable(path, failure.text);
  }
}

function unreadable(path: string, why: string): LuksmithError {
  return new LuksmithError("IDENTITY_REJECTED", { what: `cannot read the identity file ${path}`, why });
}
