import { existsSync, realpathSync } from "node:fs";
import { createSecureContext, type SecureContext } from "node:tls";
import { LuksmithError } from "../../error/luksmith-error.js";
import { PUBLIC_FILE, readGuardedFile } from "../../fs/guarded-file.js";
import { systemErrorOf } from "../../fs/system-error.js";
import type { TlsSettings } from "../../generated/keystore-tls.js";
import type { Secret } from "../../secret/secret.js";
import { readCredential } from "./credential-file.js";
import { quoted } from "./failures.js";

/** Options of node:tls. Nothing here can switch the verification of the server off. */
export interface TlsOptions {
  /** Has the client's private key in OpenSSL's memory, which nobody can wipe, and in no string. */
  readonly secureContext: SecureContext;
  readonly rejectUnauthorized: true;
  /** The client's, which the context has as well: for messages. */
  readonly cert?: Buffer;
  readonly servername?: string;
}

const LIMIT = 1024 * 1024;
/** Where Debian keeps the authorities that an administrator trusts; Node has a list of its own, and would use that. */
const SYSTEM_AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt";

/**
 * Reads the files that the settings name.
 * @param keystore its name in the settings, for messages
 * @throws KEYSTORE_TLS_FAILED if a file cannot be used, KEYSTORE_CREDENTIAL_MISSING for the key, PERMISSIONS_UNSAFE
 */
export function tlsOptions(settings: TlsSettings, keystore: string): TlsOptions {
  const { certificateFile, keyFile, serverName, minVersion = "1.2" } = settings;
  const caFile = settings.caFile ?? (existsSync(SYSTEM_AUTHORITIES) ? SYSTEM_AUTHORITIES : undefined);
  const options = {
    minVersion: `TLSv${minVersion}`,
    ...(caFile && { ca: readPublic(caFile, keystore) }),
    ...(certificateFile && { cert: readPublic(certificateFile, keystore) }),
  } as const;
  using key = keyFile === undefined ? undefined : readCredential(keyFile, keystore);
  return {
    secureContext: makeContext(
      (bytes) => createSecureContext({ ...options, ...(bytes && { key: bytes }) }),
      key,
      keystore,
    ),
    rejectUnauthorized: true,
    ...(options.cert && { cert: options.cert }),
    ...(serverName && { servername: serverName }),
  };
}

function makeContext(
  make: (key?: Buffer) => SecureContext,
  key: Secret | undefined,
  keystore: string,
): SecureContext {
  try {
    return key === undefined ? make() : key.use(make);
  } catch (thrown) {
    throw new LuksmithError("KEYSTORE_TLS_FAILED", {
      what: `cannot use the certificates of keystore ${keystore}`,
      why: thrown instanceof Error ? quoted(thrown.message) : "OpenSSL refuses them",
      hint: "tls.caFile, tls.certificateFile and tls.keyFile must be PEM, the key not encrypted and the certificate's own",
      cause: thrown,
    });
  }
}

/** Whoever may change these decides whom we trust. Distributions keep certificates behind symbolic links. */
function readPublic(path: string, keystore: string): Buffer {
  try {
    const bytes = readGuardedFile(realpathSync(path), PUBLIC_FILE, LIMIT);
    if (bytes !== undefined) return bytes;
    throw unreadable(path, keystore, "there is no such file");
  } catch (thrown) {
    const failure = systemErrorOf(thrown);
    throw failure === undefined ? thrown : unreadable(path, keystore, failure.text);
  }
}

function unreadable(path: string, keystore: string, why: string): LuksmithError {
  return new LuksmithError("KEYSTORE_TLS_FAILED", {
    what: `cannot read the certificate ${path} of keystore ${keystore}`,
    why,
    hint: "correct the path in the settings, or put the file there",
  });
}
