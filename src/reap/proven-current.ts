import { asLuksmithError } from "../error/luksmith-error.js";
import { parseKeyUuid } from "../keystore/key-uuid.js";
import type { Keyring } from "../keystore/keyring.js";
import type { Key } from "../keystore/keystore.js";
import { readingsOf } from "../plan/key-volume.js";
import type { KeyUses } from "../rotate/key-uses.js";
import type { StorageRegistry } from "../storage/index.js";
import type { Volume } from "../storage/volume.js";

export interface ProofSources {
  readonly keyring: Pick<Keyring, "locate">;
  readonly storage: Pick<StorageRegistry, "backendFor">;
  /** Which guests of this host have which keys. */
  readonly uses: () => Promise<KeyUses>;
}

/**
 * Whether it is proven that a key's former passphrases open nothing any more that its present one does not: no rotation
 * has to be finished, and the keystore's passphrase opens the volume, now. What this host cannot see is not proven: a
 * keystore that the settings do not have, a volume of another host.
 * @throws what keeps the guests from being read
 */
export async function isProvenCurrent(of: string, sources: ProofSources): Promise<boolean> {
  const uuid = parseKeyUuid(of);
  const located = uuid && (await sources.keyring.locate(uuid));
  if (located?.kind !== "found") return false;
  const { key, cached } = located;
  try {
    const { rotation, conversion } = key.record;
    if (cached !== undefined || rotation !== undefined || conversion !== undefined) return false;
    return await opens(key, sources);
  } finally {
    key.passphrase.dispose();
  }
}

/** Every disk of this host that has the key, and what its record names if there is none. */
async function opens(key: Key, { storage, uses }: ProofSources): Promise<boolean> {
  const uuid = parseKeyUuid(key.record.uuid);
  const users = uuid === undefined ? [] : (await uses()).of(uuid);
  const disks = users.filter((use) => use.opens === "disk").map(({ disk }) => disk.volume);
  const answers = new Set<Answer>();
  for (const volume of disks.length > 0 ? disks : readingsOf(key.record.volume))
    answers.add(await tryOn(volume, key, storage));
  if (disks.length > 0) return answers.size === 1 && answers.has("opens");
  return answers.has("opens") && !answers.has("rejected");
}

type Answer = "opens" | "rejected" | "unknown";

async function tryOn(
  volume: Volume,
  { passphrase }: Key,
  storage: Pick<StorageRegistry, "backendFor">,
): Promise<Answer> {
  try {
    await (await storage.backendFor(volume)).testPassphrase(volume, passphrase);
    return "opens";
  } catch (thrown) {
    return asLuksmithError(thrown).code === "PASSPHRASE_REJECTED" ? "rejected" : "unknown";
  }
}
