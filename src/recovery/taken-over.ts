import type { Keyslots } from "../encryption/keyslots.js";
import { asLuksmithError } from "../error/luksmith-error.js";
import type { KeyUuid } from "../keystore/key-uuid.js";
import { decryptWith } from "../keystore/transfer/age.js";
import type { Secret } from "../secret/secret.js";
import type { EscrowFiles } from "./escrow-files.js";
import { keyslotsIn } from "./keyslot-identity.js";
import { recipientsOf } from "./passphrase-source.js";
import type { RecoveryEntry } from "./recovery-entry.js";

interface Known {
  readonly uuid: KeyUuid;
  /** Of the volume, to its payload. */
  readonly header: Buffer;
  readonly files: Pick<EscrowFiles, "keyslots" | "read" | "unfinished">;
  readonly keyslots: Pick<Keyslots, "find">;
  /** An identity file of age: what it decrypts is tried, and has its recipients named. */
  readonly identity?: Secret;
  readonly now: Date;
}

/** The recovery keyslots of a volume whose key's record is lost, as the escrow files of this host tell. */
export async function escrowedKeyslots({
  uuid,
  header,
  files,
  keyslots,
  identity,
  now,
}: Known): Promise<RecoveryEntry[]> {
  const used = keyslotsIn(header);
  const unfinished = new Set(files.unfinished(uuid).map(({ keyslot }) => keyslot));
  const entries: RecoveryEntry[] = [];
  for (const keyslot of files.keyslots(uuid)) {
    const file = used.has(keyslot) && !unfinished.has(keyslot) ? files.read(uuid, keyslot) : undefined;
    if (file === undefined) continue;
    const entry = { keyslot, kind: "recipients", createdAt: now.toISOString() } as const;
    const passphrase = identity && (await decryptWith(identity, file).catch(asLuksmithError));
    if (identity === undefined || passphrase === undefined || passphrase instanceof Error) {
      // for somebody else: who that is the file does not tell
      entries.push(entry);
      continue;
    }
    using opener = passphrase;
    if ((await keyslots.find(header, opener, keyslot)) === keyslot)
      entries.push({ ...entry, recipients: await recipientsOf(identity) });
  }
  return entries;
}
