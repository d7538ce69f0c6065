import type { AuditLog } from "../audit/audit-log.js";
import { asLuksmithError } from "../error/luksmith-error.js";
import type { KeyRecord } from "../generated/key-record.js";
import { keyUuidOf } from "../keystore/key-record.js";
import { type KeyLocks, lockedWith } from "../keystore/key-locks.js";
import type { Keyring } from "../keystore/keyring.js";
import { deleteFormer } from "../keystore/delete-former.js";
import { canDelete, type Keystore } from "../keystore/keystore.js";
import type { GuestLocks } from "../plan/guest-locks.js";
import { isProvenCurrent, type ProofSources } from "./proven-current.js";
import type { Reaped } from "./reaper.js";

const DAY = 86_400_000;

export interface FormerKeysResources extends ProofSources {
  /** Days that former passphrases are kept. */
  readonly keepFormer: number;
  readonly keyring: Pick<Keyring, "all" | "locate">;
  readonly locks: Pick<GuestLocks, "hold">;
  readonly keyLocks: Pick<KeyLocks, "hold">;
  readonly audit: AuditLog;
  readonly now: Date;
}

type Archived = KeyRecord & Required<Pick<KeyRecord, "archived">>;

interface FormerKey {
  readonly keystore: Keystore;
  readonly record: Archived;
}

/**
 * Deletes former passphrases that were kept as long as the settings say, once it is proven that the volume opens with the
 * key's present one. What cannot be proven now, or on this host, stays; a keystore that does not answer keeps its own
 * until the next time.
 */
export async function reapFormerKeys(
  manner: "apply" | "dry-run",
  resources: FormerKeysResources,
): Promise<Reaped[]> {
  const reaped: Reaped[] = [];
  let uses: ReturnType<FormerKeysResources["uses"]> | undefined;
  // guests are read once for all of them, if at all
  const sources = { ...resources, uses: () => (uses ??= resources.uses()) };
  for (const key of await formerKeys(resources)) reaped.push(...(await reapKey(manner, key, sources)));
  return reaped;
}

async function formerKeys({ keyring, keepFormer, now }: FormerKeysResources): Promise<FormerKey[]> {
  const answers = await Promise.allSettled(
    (await keyring.all()).map(async (keystore) =>
      (await keystore.find({ state: "archived" })).flatMap(({ archived, ...record }) =>
        archived === undefined ? [] : [{ keystore, record: { ...record, archived } }],
      ),
    ),
  );
  const known = answers.flatMap((answer) => (answer.status === "fulfilled" ? answer.value : []));
  const isOver = ({ at }: Archived["archived"]) => now.getTime() - Date.parse(at) >= keepFormer * DAY;
  return known
    .filter(({ record }) => isOver(record.archived))
    .sort((a, b) => Date.parse(a.record.archived.at) - Date.parse(b.record.archived.at));
}

async function reapKey(
  manner: "apply" | "dry-run",
  { keystore, record }: FormerKey,
  resources: FormerKeysResources,
): Promise<Reaped[]> {
  const { locks, keyLocks, audit } = resources;
  const { guest, disk, archived } = record;
  const uuid = keyUuidOf(record);
  const about = { kind: "former-key", name: uuid, guest, disk } as const;
  if (!canDelete(keystore)) return [];
  try {
    if (!(await isProvenCurrent(archived.of, resources))) return [];
    if (manner === "dry-run") return [{ ...about, outcome: "found" }];
    const work = async (): Promise<Reaped[]> => {
      const now = await keystore.fetch(uuid);
      now?.passphrase.dispose();
      // a rotation that begins anew with this passphrase counts its time anew
      if (now?.record.archived?.at !== archived.at || !(await isProvenCurrent(archived.of, resources)))
        return [];
      audit.requireWritable();
      await deleteFormer([{ keystore, record }], audit);
      return [{ ...about, outcome: "cleaned" }];
    };
    return await locks.hold(guest, () => keyLocks.hold(lockedWith(record), work));
  } catch (thrown) {
    const error = asLuksmithError(thrown);
    // a conversion has guest and key for hours, and there is a next time
    if (error.code === "LOCK_TIMEOUT") return [];
    return [{ ...about, outcome: "left", why: error.why ?? error.message }];
  }
}
