import { createCipheriv, createDecipheriv, randomBytes, scrypt } from "node:crypto";
import { promisify } from "node:util";
import type { MasterKeyRecovery } from "../../generated/master-key-recovery.js";
import { Secret } from "../../secret/secret.js";
import { MASTER_KEY_BYTES } from "./protector.js";
import { masterKeyIdOf } from "./stored-key.js";

const ALGORITHM = "aes-256-gcm";
const TAG_BYTES = 16;
/** 128 MiB and some tenths of a second; the passphrase has 160 bits already, and is used once in years. */
const COST = { kdf: "scrypt", n: 131_072, r: 8, p: 1 } as const;

type Header = Omit<MasterKeyRecovery, "iv" | "ciphertext" | "tag">;

/** The master key under the recovery passphrase. */
export async function wrapForRecovery(
  masterKey: Secret,
  passphrase: Secret,
  now: Date,
): Promise<MasterKeyRecovery> {
  const header: Header = {
    ...COST,
    salt: randomBytes(32).toString("base64"),
    masterKey: masterKeyIdOf(masterKey),
    createdAt: now.toISOString(),
  };
  const iv = randomBytes(12);
  using key = await derive(passphrase, header);
  const cipher = key.use((bytes) => createCipheriv(ALGORITHM, bytes, iv, { authTagLength: TAG_BYTES }));
  cipher.setAAD(additionalData(header));
  const ciphertext = masterKey.use((bytes) => Buffer.concat([cipher.update(bytes), cipher.final()]));
  return {
    ...header,
    iv: iv.toString("base64"),
    ciphertext: ciphertext.toString("base64"),
    tag: cipher.getAuthTag().toString("base64"),
  };
}

/** The master key, the caller's to dispose of; undefined if the passphrase is another one or anything was changed. */
export async function openRecovery(
  recovery: MasterKeyRecovery,
  passphrase: Secret,
): Promise<Secret | undefined> {
  const { iv, ciphertext, tag, ...header } = recovery;
  using key = await derive(passphrase, header);
  const decipher = key.use((bytes) =>
    createDecipheriv(ALGORITHM, bytes, Buffer.from(iv, "base64"), { authTagLength: TAG_BYTES }),
  );
  decipher.setAAD(additionalData(header));
  decipher.setAuthTag(Buffer.from(tag, "base64"));
  const masterKey = Secret.own(decipher.update(Buffer.from(ciphertext, "base64")));
  try {
    // in GCM this returns nothing: it compares the tag
    decipher.final();
    return masterKey;
  } catch {
    masterKey.dispose();
    return undefined;
  }
}

async function derive(passphrase: Secret, { n, r, p, salt }: Header): Promise<Secret> {
  const text = passphrase.use((bytes) => Buffer.from(bytes));
  try {
    // node's limit is 32 MiB unless it is told another; this is what the parameters need, and some
    const options = { N: n, r, p, maxmem: 160 * n * r };
    return Secret.own(await scryptOf(text, Buffer.from(salt, "base64"), MASTER_KEY_BYTES, options));
  } finally {
    text.fill(0);
  }
}

const scryptOf = promisify<
  Buffer,
  Buffer,
  number,
  { N: number; r: number; p: number; maxmem: number },
  Buffer
>(scrypt);

/** What the tag vouches for beside the key, in one order. */
function additionalData({ kdf, n, r, p, salt, masterKey, createdAt }: Header): Buffer {
  return Buffer.from(
    JSON.stringify(["luksmith master key recovery", kdf, n, r, p, salt, masterKey, createdAt]),
  );
}
