import { LuksmithError } from "../../error/luksmith-error.js";
import { PRIVATE_FILE, readGuardedFile } from "../../fs/guarded-file.js";
import { systemErrorOf } from "../../fs/system-error.js";
import { Secret } from "../../secret/secret.js";

const LIMIT = 64 * 1024;
const LINE_FEED = 0x0a;

/**
 * The password, token or key in a file that only root may read; the settings name the file, so that they hold no
 * secret. One newline at the end is not part of it. The caller disposes of it.
 * @param keystore its name in the settings, for messages
 * @throws KEYSTORE_CREDENTIAL_MISSING if there is no such file or nothing in it, PERMISSIONS_UNSAFE
 */
export function readCredential(path: string, keystore: string): Secret {
  const bytes = read(path, keystore);
  const length = bytes.at(-1) === LINE_FEED ? bytes.length - 1 : bytes.length;
  if (length === 0) throw unusable(path, keystore, "it is empty");
  if (bytes.length > LIMIT) throw unusable(path, keystore, `it has more than ${LIMIT} bytes`);
  return Secret.own(bytes.subarray(0, length));
}

function read(path: string, keystore: string): Buffer {
  try {
    const bytes = readGuardedFile(path, PRIVATE_FILE, LIMIT + 1);
    if (bytes !== undefined) return bytes;
  } catch (thrown) {
    const failure = systemErrorOf(thrown);
    throw failure === undefined ? thrown : unusable(path, keystore, failure.text);
  }
  throw unusable(path, keystore, "there is no such file");
}

function unusable(path: string, keystore: string, why: string): LuksmithError {
  return new LuksmithError("KEYSTORE_CREDENTIAL_MISSING", {
    what: `cannot read the credential ${path} of keystore ${keystore}`,
    why,
    hint: "write it there as root, with mode 0600, or correct the path in the settings",
  });
}
