import { dirname } from "node:path";
import { volumeKeysIn } from "../encryption/volume-key.js";
import { encryptedDisks } from "../disk-info/encrypted-disks.js";
import { LuksmithError } from "../error/luksmith-error.js";
import { shellWord } from "../error/shell-word.js";
import type { HeaderBackup, HeaderVault } from "../headers/header-vault.js";
import type { HostAdapter } from "../host/host-adapter.js";
import type { KeyUuid } from "../keystore/key-uuid.js";
import type { StorageRegistry } from "../storage/index.js";
import type { Volume } from "../storage/volume.js";
import { refused } from "./refuse-used.js";
import type { ShredTarget } from "./shred-target.js";

interface Ports {
  readonly host: Pick<HostAdapter, "listGuests" | "readGuest">;
  readonly storage: StorageRegistry;
  readonly headers: HeaderVault;
}

/** Where the volume key is in another header, which stays. */
interface Sharer {
  /** `disk vda of guest web2` */
  readonly name: string;
  /** What is to be done about it. */
  readonly remedy: string;
}

/**
 * A copy that was given a key of its own kept its volume key: with its header, the destroyed one's data can be read.
 * Refuses where a disk of a guest of this host, or a copy of another header that this host keeps, has the volume key of
 * one of the targets and is not to be destroyed as well. What cannot be read is passed over, other hosts' cannot be seen.
 * @param targets whose volumes have their headers @throws SHRED_REFUSED
 */
export async function refuseSharedVolumeKeys(targets: readonly ShredTarget[], ports: Ports): Promise<void> {
  const doomed = new Set(targets.map(({ key }) => key));
  const others = await othersOf(doomed, ports);
  for (const target of targets) {
    const onVolume = await keysOn(target.volume, ports);
    // of a damaged header its newest copy tells
    const copies = onVolume.length === 0 ? ports.headers.backups(target.key).slice(0, 1) : [];
    const own = [...onVolume, ...copies.flatMap((copy) => keysInCopy(copy, ports.headers))];
    const [sharer, ...more] = own.flatMap((key) => others.get(key) ?? []);
    if (sharer === undefined) continue;
    const names = [sharer, ...more].map(({ name }) => name);
    const remedies = [sharer, ...more].map(({ remedy }) => remedy);
    const hint = [...remedies, "if they may go on opening it: --volume-key-is-shared"].join("; ");
    throw refused(target, `${names.join(", ")} has the same volume key, which opens its data too`, hint);
  }
}

/** Volume key → what else on this host has it. */
async function othersOf(doomed: ReadonlySet<KeyUuid>, ports: Ports): Promise<Map<string, Sharer[]>> {
  const found = new Map<string, Sharer[]>();
  const seen = new Set(doomed);
  const add = (keys: readonly string[], sharer: Sharer) => {
    for (const key of new Set(keys)) found.set(key, [...(found.get(key) ?? []), sharer]);
  };
  for (const { id } of await ports.host.listGuests()) {
    const guest = await ports.host.readGuest(id).catch(skipped);
    for (const { dev, volume, encryption_secret_uuid: key } of guest ? encryptedDisks(guest) : []) {
      if (doomed.has(key)) continue;
      const remedy = `luksmith rotate --deep ${shellWord(guest?.name ?? id)} --disk ${dev}`;
      add(await keysOn(volume, ports), { name: `disk ${dev} of guest ${guest?.name ?? id}`, remedy });
      seen.add(key);
    }
  }
  for (const key of ports.headers.keys()) {
    const [newest] = seen.has(key) ? [] : ports.headers.backups(key);
    if (newest === undefined) continue;
    const name = `a header copy of key ${key} (volume ${newest.volume})`;
    const remedy = `remove ${dirname(newest.path)} if nothing needs that key any more`;
    add(keysInCopy(newest, ports.headers), { name, remedy });
  }
  return found;
}

async function keysOn(volume: Volume, { storage }: Ports): Promise<readonly string[]> {
  const read = async () => volumeKeysIn(await (await storage.backendFor(volume)).readHeader(volume));
  return (await read().catch(skipped)) ?? [];
}

function keysInCopy(copy: HeaderBackup, headers: HeaderVault): readonly string[] {
  try {
    return volumeKeysIn(headers.read(copy));
  } catch (thrown) {
    skipped(thrown);
    return [];
  }
}

/** What cannot be read says nothing. */
function skipped(thrown: unknown): undefined {
  if (thrown instanceof LuksmithError) return undefined;
  throw thrown;
}
