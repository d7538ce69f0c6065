import { LuksmithError } from "../error/luksmith-error.js";
import type { KeyRecord } from "../generated/key-record.js";
import type { KeyUuid } from "../keystore/key-uuid.js";
import { decryptWith } from "../keystore/transfer/age.js";
import { disposeOf } from "../keystore/transfer/collect.js";
import { readEscrow } from "../keystore/transfer/escrow.js";
import { readIdentities } from "../keystore/transfer/identities.js";
import { Secret } from "../secret/secret.js";
import type { RecoveryEntry } from "./recovery-entry.js";
import { parsePrintedPassphrase } from "./recovery-passphrases.js";

const OPEN_BRACE = 0x7b;

/** What is to open a volume; the caller disposes of the passphrase. */
export interface GivenPassphrase {
  readonly passphrase: Secret;
  /** The key's record, where what was given has it. */
  readonly record?: KeyRecord;
  /** For whom its keyslot was made, where it is a recovery passphrase. */
  readonly holder?: Pick<RecoveryEntry, "kind" | "recipients">;
  /** Why it may be mistyped, where it is meant to be a printed one; completes "the recovery passphrase …". */
  readonly mistyped?: string;
}

/**
 * A printed passphrase however it was typed, or any other one as it stands there, without the line end. Wipes `typed`.
 */
export function typedPassphrase(typed: Buffer): GivenPassphrase {
  let length = typed.length;
  while (length > 0 && (typed[length - 1] === 0x0a || typed[length - 1] === 0x0d)) length--;
  const raw = Buffer.from(typed.subarray(0, length));
  const parsed = parsePrintedPassphrase(typed);
  if (parsed.kind === "mistyped") return { passphrase: Secret.own(raw), mistyped: parsed.reason };
  raw.fill(0);
  return { passphrase: parsed.passphrase, holder: { kind: "passphrase" } };
}

/**
 * The passphrase in an escrow file, or that of one key in a file of `luksmith keys export`: the current one, or the newest
 * former one that opens.
 * @param identity path of an identity file of age
 * @param uuid of the volume that is to be opened
 * @param opens whether a passphrase opens the volume's header, or the copy that is to be put back
 * @throws ESCROW_INVALID, IDENTITY_REJECTED, PERMISSIONS_UNSAFE, KEY_NOT_FOUND
 */
export async function escrowedPassphrase(
  file: Buffer,
  identity: string,
  uuid: KeyUuid,
  opens: (passphrase: Secret) => Promise<boolean>,
): Promise<GivenPassphrase> {
  using identities = readIdentities(identity);
  const plaintext = await decryptWith(identities, file);
  if (plaintext.use((bytes) => bytes[0]) !== OPEN_BRACE) {
    const recipients = await recipientsOf(identities);
    return { passphrase: plaintext, holder: { kind: "recipients", recipients } };
  }
  using exported = plaintext;
  const keys = readEscrow(exported);
  const current = keys.find(({ record }) => record.uuid === uuid);
  const formers = keys
    .filter(({ record }) => record.archived?.of === uuid)
    .sort((a, b) => (b.record.archived?.generation ?? 0) - (a.record.archived?.generation ?? 0));
  let key = current ?? formers[0];
  try {
    for (const each of current === undefined ? formers : [current, ...formers]) {
      if (formers.length === 0 || !(await opens(each.passphrase))) continue;
      key = each;
      break;
    }
  } catch (thrown) {
    key = undefined;
    throw thrown;
  } finally {
    disposeOf(keys.filter((other) => other !== key));
  }
  // the record of a former passphrase is not that of the key
  if (key !== undefined) return { passphrase: key.passphrase, ...(current && { record: current.record }) };
  throw new LuksmithError("KEY_NOT_FOUND", {
    what: `the exported file has no key ${uuid}`,
    hint: "use one that was exported later, or an escrow file of this volume",
  });
}

/** The public keys of identities: an age file does not tell who else can read it. */
export async function recipientsOf(identities: Secret): Promise<string[]> {
  const { identityToRecipient } = await import("age-encryption");
  const lines = identities.use((bytes) => bytes.toString("latin1").split(/\r?\n/));
  const own = lines.map((line) => line.trim()).filter((line) => line.startsWith("AGE-SECRET-KEY-"));
  return await Promise.all(own.map((identity) => identityToRecipient(identity)));
}
