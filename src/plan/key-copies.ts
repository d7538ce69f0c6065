import { asLuksmithError, LuksmithError } from "../error/luksmith-error.js";
import { visible } from "../error/printable.js";
import type { Guest } from "../host/host-adapter.js";
import type { KeyUuid } from "../keystore/key-uuid.js";
import type { Cached } from "../keystore/keyring.js";
import type { Logger } from "../log/logger.js";
import type { StorageRegistry } from "../storage/index.js";
import { cannotStart } from "./cannot-start.js";
import type { AnnotatedDisk, DiskFacts, KeyFact } from "./facts.js";
import type { KeySession } from "./key-session.js";

/** A key that this host has a copy of, and uses because its keystore does not answer. */
export interface KeyCopy {
  readonly disk: string;
  readonly uuid: KeyUuid;
  /** Name of the keystore. */
  readonly keystore: string;
  readonly cached: Cached;
}

/** The copies among the keys that open the guest's disks. */
export function copiesIn(facts: readonly DiskFacts[]): KeyCopy[] {
  return facts.flatMap((fact) => {
    if (fact.kind === "plain") return [];
    const keys = [{ uuid: fact.uuid, key: fact.key }, ...fact.bases];
    return keys.flatMap(({ uuid, key }) => copyOf(fact.disk.dev, uuid, key));
  });
}

function copyOf(disk: string, uuid: KeyUuid, key: KeyFact): KeyCopy[] {
  if (key.kind !== "found" || key.cached === undefined) return [];
  return [{ disk, uuid, keystore: key.keystore, cached: key.cached }];
}

/**
 * Tries the copies on their volumes before anything is given to QEMU, which would say no more than that a passphrase is
 * wrong: a copy may be of a former one. What cannot be tried here is the start's to find.
 * @throws PASSPHRASE_REJECTED
 */
export async function refuseFormerCopies(
  guest: Guest,
  facts: readonly DiskFacts[],
  storage: StorageRegistry,
  session: KeySession,
): Promise<void> {
  await Promise.all(
    facts.map(async (fact) => {
      const [copy] = fact.kind === "annotated" ? copyOf(fact.disk.dev, fact.uuid, fact.key) : [];
      if (copy !== undefined && fact.kind === "annotated") await tryCopy(guest, fact, copy, storage, session);
    }),
  );
}

async function tryCopy(
  guest: Guest,
  { disk, probe, uuid }: AnnotatedDisk,
  copy: KeyCopy,
  storage: StorageRegistry,
  session: KeySession,
): Promise<void> {
  if (probe?.kind !== "luks" || probe.header.uuid !== uuid) return;
  try {
    await (await storage.backendFor(disk.volume)).testPassphrase(disk.volume, session.passphrase(uuid));
  } catch (thrown) {
    if (asLuksmithError(thrown).code === "PASSPHRASE_REJECTED") throw isFormer(guest, copy);
  }
}

function isFormer(guest: Guest, { disk, uuid, keystore, cached }: KeyCopy): LuksmithError {
  const { since, error } = cached;
  return new LuksmithError("PASSPHRASE_REJECTED", {
    what: `${cannotStart(guest)}: the copy of key ${uuid} that this host has does not open disk ${disk}`,
    why: `keystore ${keystore} gave it out at ${since.toISOString()}; the key may have got a new passphrase since, on another host`,
    hint: `the volume is in order as far as can be seen: try again when the keystore answers (${error.why ?? error.message})`,
    cause: error,
  });
}

/** The administrator must see that a guest came up without its keystore, which may have withdrawn the key since. */
export function warnOfCopy(
  { name: guest }: Pick<Guest, "name">,
  { disk, uuid: key, keystore, cached: { since, error } }: KeyCopy,
  logger: Logger,
): void {
  const copy = `a copy of key ${key}, which keystore ${keystore} gave out at ${since.toISOString()}`;
  const reason = error.why === undefined ? error.message : `${error.message} (${error.why})`;
  const text = `disk ${disk} of guest ${guest} is opened with ${copy}: ${reason}`;
  logger.warn(visible(text), { guest, disk, key });
}
