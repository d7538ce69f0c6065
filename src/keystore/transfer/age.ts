import { errnoOf, LuksmithError } from "../../error/luksmith-error.js";
import { printable } from "../../error/printable.js";
import { Secret } from "../../secret/secret.js";
import { invalid } from "./escrow.js";

/** The format of https://age-encryption.org/v1; the library is loaded by these commands alone. */
const library = () => import("age-encryption");

const ARMOR = "-----BEGIN AGE";

/** @throws USAGE for what is no age recipient; what could be somebody's identity is not shown */
export async function requireRecipients(recipients: readonly string[]): Promise<void> {
  const { Encrypter } = await library();
  for (const recipient of recipients) {
    try {
      new Encrypter().addRecipient(recipient);
    } catch {
      const shown = recipient.startsWith("age1") ? printable(recipient) : "one of them";
      throw new LuksmithError("USAGE", {
        what: `${shown} is no recipient that keys can be encrypted to`,
        hint: "a recipient is the public key that age-keygen prints: --recipient age1…",
      });
    }
  }
}

/** `plaintext` for whoever has the identity of one of the recipients. */
export async function encryptFor(
  recipients: readonly string[],
  plaintext: Secret,
  form: "armor" | "binary",
): Promise<Buffer> {
  const { armor, Encrypter } = await library();
  const encrypter = new Encrypter();
  for (const recipient of recipients) encrypter.addRecipient(recipient);
  // it reads the bytes while it works: they are lent for so long
  const file = await plaintext.use((bytes) => encrypter.encrypt(bytes));
  return form === "armor" ? Buffer.from(armor.encode(file)) : Buffer.from(file);
}

/**
 * The plaintext of an age file, in either form; the caller disposes of it.
 * @param identities an identity file of age-keygen
 * @throws IDENTITY_REJECTED, ESCROW_INVALID
 */
export async function decryptWith(identities: Secret, file: Buffer): Promise<Secret> {
  const { armor, Decrypter } = await library();
  const decrypter = new Decrypter();
  for (const identity of identitiesIn(identities)) {
    try {
      decrypter.addIdentity(identity);
    } catch {
      throw rejected(
        "a line of the identity file is no identity of age",
        "the lines of age-keygen begin with AGE-SECRET-KEY-",
      );
    }
  }
  try {
    const binary = file.subarray(0, 256).toString("latin1").trimStart().startsWith(ARMOR)
      ? armor.decode(file.toString("latin1"))
      : file;
    const { buffer, byteOffset, byteLength } = await decrypter.decrypt(binary);
    return Secret.own(Buffer.from(buffer, byteOffset, byteLength));
  } catch (thrown) {
    if (thrown instanceof Error && /no identity matched/.test(thrown.message)) {
      throw rejected(
        "the file is encrypted to others than this identity",
        "use the identity of one of the recipients that keys export was given",
      );
    }
    if (errnoOf(thrown) !== undefined) throw thrown;
    throw invalid("it cannot be decrypted");
  }
}

/** The library takes strings only, which stay in memory until they are reused. */
function identitiesIn(file: Secret): string[] {
  const lines = file.use((bytes) =>
    bytes
      .toString("utf8")
      .split(/\r?\n/)
      .map((line) => line.trim()),
  );
  const identities = lines.filter((line) => line !== "" && !line.startsWith("#"));
  if (identities.length > 0) return identities;
  throw rejected("the identity file has no identity in it", "make one with: age-keygen -o FILE");
}

function rejected(why: string, hint: string): LuksmithError {
  return new LuksmithError("IDENTITY_REJECTED", { what: "cannot decrypt these keys", why, hint });
}
