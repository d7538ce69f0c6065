import { rmSync } from "node:fs";
import { join } from "node:path";
import { asLuksmithError } from "../../error/luksmith-error.js";
import type { AuditLog } from "../../audit/audit-log.js";
import { useOfRecord } from "../../audit/recorded.js";
import type { Clock } from "../../event/clock.js";
import type { CommandRunner } from "../../exec/command-runner.js";
import { ifThere } from "../../fs/if-there.js";
import type { KeyRecord } from "../../generated/key-record.js";
import { deleteFormer, formerOf } from "../../keystore/delete-former.js";
import { type KeyLocks, lockedWith } from "../../keystore/key-locks.js";
import { keyUuidOf } from "../../keystore/key-record.js";
import { canDelete, type Keystore } from "../../keystore/keystore.js";
import type { Keyring } from "../../keystore/keyring.js";
import type { GuestLocks } from "../../plan/guest-locks.js";
import type { Reaped } from "../../reap/reaper.js";
import { isTimeToLook, noteLook } from "../../reap/stamp.js";
import type { EffectiveSettings } from "../../settings/settings.js";
import type { StorageRegistry } from "../../storage/storage-registry.js";
import { settledRecord } from "./bridge/volume-keys.js";
import type { ProxmoxPlaces } from "./places.js";
import { VolumesHere } from "./volumes-here.js";

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
/** Milliseconds that destroying a volume takes at most, from when its key is marked. */
const UNDER_WAY = HOUR;

export interface FreedKeysResources {
  readonly settings: Pick<EffectiveSettings, "proxmox">;
  readonly runner: CommandRunner;
  readonly keyring: Keyring;
  readonly storage: StorageRegistry;
  readonly locks: GuestLocks;
  readonly keyLocks: Pick<KeyLocks, "hold">;
  readonly audit: AuditLog;
  readonly clock: Clock;
  readonly places: ProxmoxPlaces;
}

interface FreedKey {
  readonly keystore: Keystore;
  readonly record: KeyRecord & Required<Pick<KeyRecord, "freedAt">>;
}

/**
 * Deletes keys whose volumes were destroyed longer ago than the settings keep them, once it is proven that no volume of
 * any encrypted storage of this node has their UUID in its header. A key whose volume is there (it has come back from a
 * backup, or destroying it was cut short) is freed no more. What cannot be proven on this node now is for another node,
 * or the next time.
 */
export async function reapFreedKeys(
  manner: "apply" | "dry-run",
  resources: FreedKeysResources,
): Promise<Reaped[]> {
  const { places } = resources;
  if (manner === "apply" && !isTimeToLook(stampOf(places))) return [];
  const keys = await freedKeys(resources.keyring);
  const volumes = new VolumesHere(resources);
  const reaped: Reaped[] = [];
  for (const key of keys) reaped.push(...(await reapKey(manner, key, volumes, resources)));
  if (manner === "apply") noteLook(stampOf(places));
  return reaped;
}

/** The next reaper looks for freed keys, however short ago the last one did. */
export function announceFreedKey(places: ProxmoxPlaces): void {
  ifThere(() => rmSync(stampOf(places), { force: true }));
}

function stampOf({ root }: ProxmoxPlaces): string {
  return join(root, "run/luksmith/looked-for-freed-keys");
}

/** Of all keystores that answer. */
async function freedKeys(keyring: Keyring): Promise<FreedKey[]> {
  const answers = await Promise.allSettled(
    (await keyring.all()).map(async (keystore) =>
      (await keystore.find({})).flatMap(({ freedAt, ...record }) =>
        freedAt === undefined ? [] : [{ keystore, record: { ...record, freedAt } }],
      ),
    ),
  );
  return answers.flatMap((answer) => (answer.status === "fulfilled" ? answer.value : []));
}

async function reapKey(
  manner: "apply" | "dry-run",
  key: FreedKey,
  volumes: VolumesHere,
  resources: FreedKeysResources,
): Promise<Reaped[]> {
  const { keystore, record } = key;
  const { locks, keyLocks, keyring, audit } = resources;
  const uuid = keyUuidOf(record);
  const age = resources.clock.now().getTime() - Date.parse(record.freedAt);
  if (age < UNDER_WAY) return [];
  const isOver = age >= resources.settings.proxmox.keepFreedKeys * DAY;
  const answer = await volumes.look(record);
  if (answer === "unknown") return [];
  const about = { kind: "freed-key", name: uuid, guest: record.guest, disk: record.disk } as const;
  try {
    if (answer === "there") {
      const settle = (now: KeyRecord) => (now.freedAt === record.freedAt ? settledRecord(now) : now);
      if (manner === "apply") await keyLocks.hold(uuid, () => keystore.change(uuid, settle));
      return [];
    }
    if (!isOver || !canDelete(keystore)) return [];
    if (manner === "dry-run") return [{ ...about, outcome: "found" }];
    const work = async (): Promise<Reaped[]> => {
      const now = await keystore.fetch(uuid);
      now?.passphrase.dispose();
      // somebody has come to use it meanwhile, or has deleted it
      if (now?.record.freedAt !== record.freedAt) return [];
      audit.requireWritable();
      await deleteFormer(await formerOf(uuid, await keyring.all()), audit);
      await keystore.delete(uuid);
      const detail = `its volume was destroyed at ${record.freedAt}`;
      await audit.record({ ...useOfRecord("delete", record, keystore.name), result: "done", detail });
      // a key that no keystore has is forgotten by the cache as well
      const left = await keyring.locate(uuid);
      if (left.kind === "found") left.key.passphrase.dispose();
      return [{ ...about, outcome: "cleaned" }];
    };
    return await locks.hold(record.guest, () => keyLocks.hold(lockedWith(record), work));
  } catch (thrown) {
    const error = asLuksmithError(thrown);
    return [{ ...about, outcome: "left", why: error.why ?? error.message }];
  }
}
