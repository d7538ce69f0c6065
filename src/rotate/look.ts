import type { Keyslots } from "../encryption/keyslots.js";
import { LuksmithError } from "../error/luksmith-error.js";
import type { Key, Keystore } from "../keystore/keystore.js";
import type { KeyUuid } from "../keystore/key-uuid.js";
import { Secret } from "../secret/secret.js";
import type { StorageBackend } from "../storage/storage-backend.js";
import type { Volume } from "../storage/volume.js";
import { formerPassphrases } from "./archive.js";
import type { RotationFacts } from "./plan-rotation.js";

/** What there is now of a key; its passphrases are wiped when it is disposed of. */
export interface Found extends Disposable {
  readonly key: Key;
  readonly header: Buffer;
  /** The newest first, of those that were looked for. */
  readonly formers: readonly Former[];
  readonly facts: RotationFacts;
}

interface Former {
  readonly passphrase: Secret;
  /** That it opens. */
  readonly keyslot: number | undefined;
}

interface Target {
  readonly volume: Volume;
  readonly backend: Pick<StorageBackend, "readHeader">;
  readonly uuid: KeyUuid;
  readonly keystore: Keystore;
}

/**
 * Asks keystore and header. Former passphrases are looked for only where they say something.
 * @param replaced the former passphrase, for a process that has replaced it itself and need not ask for it
 * @throws KEY_NOT_FOUND, and what storage and keystore throw
 */
export async function look(
  { volume, backend, uuid, keystore }: Target,
  keyslots: Pick<Keyslots, "find" | "used">,
  replaced: Secret | undefined,
): Promise<Found> {
  const key = await keystore.fetch(uuid);
  if (key === undefined) throw gone(uuid, keystore);
  const passphrases = [key.passphrase];
  const dispose = () => {
    for (const passphrase of passphrases) passphrase.dispose();
  };
  try {
    const header = await backend.readHeader(volume);
    const current = await keyslots.find(header, key.passphrase);
    const noted = key.record.rotation?.former;
    const formers: Former[] = [];
    if (current === undefined || noted !== undefined) {
      const found = replaced === undefined ? await formerPassphrases(keystore, uuid) : [copyOf(replaced)];
      passphrases.push(...found);
      const among = current === undefined ? undefined : noted;
      for (const passphrase of found)
        formers.push({ passphrase, keyslot: await keyslots.find(header, passphrase, among) });
    }
    const facts = {
      ...{ record: key.record, used: keyslots.used(header), current, knowsFormer: formers.length > 0 },
      former: formers.flatMap(({ keyslot }) => keyslot ?? []),
    };
    return { key, header, formers, facts, [Symbol.dispose]: dispose };
  } catch (thrown) {
    dispose();
    throw thrown;
  }
}

function copyOf(secret: Secret): Secret {
  return secret.use((bytes) => Secret.own(Buffer.from(bytes)));
}

function gone(uuid: KeyUuid, keystore: Keystore): LuksmithError {
  return new LuksmithError("KEY_NOT_FOUND", {
    what: `keystore ${keystore.name} has no key ${uuid} any more`,
    hint: "somebody has moved or deleted it meanwhile; begin again",
  });
}
