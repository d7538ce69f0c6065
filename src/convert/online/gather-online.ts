import type { DiskMapping } from "../../disk-info/disk-info.js";
import type { EncryptionProvider } from "../../encryption/encryption-provider.js";
import { askedOnce } from "../../encryption/versions.js";
import type { CommandRunner } from "../../exec/command-runner.js";
import type { KeyRecord } from "../../generated/key-record.js";
import type { DiskMirror, MirrorState } from "../../host/disk-mirror.js";
import type { ConfiguredGuest, Guest } from "../../host/host-adapter.js";
import { keyUuidOf } from "../../keystore/key-record.js";
import type { KeyUuid } from "../../keystore/key-uuid.js";
import type { KeySession } from "../../plan/key-session.js";
import type { Resources } from "../../plan/perform.js";
import { findUser, type VolumeUser } from "../../plan/volume-users.js";
import type { Probe, StorageBackend } from "../../storage/storage-backend.js";
import { volumeName } from "../../storage/volume.js";
import type { ConversionNotes } from "../conversion-notes.js";
import type { ConversionTask } from "../conversion.js";
import type { ConvertTarget } from "../gather-convert.js";
import { type EarlierNote, earlierNote } from "./online-notes.js";
import { guestNotRunning } from "./online-refusals.js";

/** What a conversion of a running guest's disk must know. */
export interface OnlineFacts {
  /** As its persistent configuration is now. */
  readonly guest: ConfiguredGuest;
  /** In the persistent configuration; undefined if it is not there any more. */
  readonly disk: DiskMapping | undefined;
  /** In the running guest. */
  readonly live: DiskMapping | undefined;
  readonly state: Exclude<MirrorState, { kind: "stopped" }>;
  /** Bytes that the guest sees of it. */
  readonly size: bigint;
  readonly target: ConvertTarget;
  readonly backend: StorageBackend;
  /** Undefined for a volume that QEMU has open: nothing reads it meanwhile. */
  readonly probe: Probe | undefined;
  /** Who else has the target, or opens something with its key. */
  readonly user: VolumeUser | undefined;
  /** Who shall decrypt; undefined for a plain target. */
  readonly provider: EncryptionProvider | undefined;
  /** The key of the target, made by this or an earlier call. */
  readonly known: KnownKey | undefined;
  readonly noted: EarlierNote | undefined;
}

export interface KnownKey {
  readonly keystore: string;
  readonly record: KeyRecord;
}

export interface OnlineQuestion extends Pick<ConversionTask, "guest" | "disk" | "goal"> {
  readonly target: ConvertTarget;
}

interface OnlineSources extends Resources {
  readonly mirror: DiskMirror;
  readonly runner: CommandRunner;
  readonly notes: ConversionNotes;
}

/** The I/O half of planning; writes nothing. The passphrase of a key that it finds goes to the session. */
export async function gatherOnlineFacts(
  { guest: { id }, disk: { dev }, goal, target }: OnlineQuestion,
  resources: OnlineSources,
  session: KeySession,
): Promise<OnlineFacts> {
  const { host, storage, providers, mirror } = resources;
  // what was read before the guest's lock was held is old
  const guest = await host.readGuest(id);
  const state = await mirror.look(guest, dev);
  if (state.kind === "stopped") throw guestNotRunning(guest, dev);
  const live = state.live.disks.mapping[dev];
  const backend = await storage.backendFor(target.volume);
  const isOpen = isIn(state.live, target) || ("to" in state && state.to === target.volume.path);
  const probe = isOpen ? undefined : await backend.probe(target.volume, "header");
  const uuids =
    goal.to === "plain" ? [] : await candidates(guest, dev, { target, probe, state, live }, resources);
  const known = await firstOf(uuids, resources, session);
  const versions = askedOnce(() => host.versions());
  const format = goal.to === "plain" ? undefined : (known?.record.encryption.format ?? goal.request.format);
  const choice = goal.to === "plain" ? "auto" : goal.engine;
  return {
    ...{ guest, disk: guest.disks.mapping[dev], live, state, target, backend, probe, known },
    size: await host.diskSize(guest, dev),
    user: isOpen ? undefined : await userOf(guest, target, known, resources),
    noted: live && (await earlierNote(guest, live, target.volume, resources)),
    provider: format && (await providers.choose({ volume: target.volume, format, choice, versions })),
  };
}

function isIn({ disks }: Guest, { volume }: ConvertTarget): boolean {
  return Object.values(disks.mapping).some((disk) => volumeName(disk.volume) === volume.path);
}

type Seen = Pick<OnlineFacts, "target" | "probe" | "state" | "live">;

/** Keys that the target may have: what opens it now, what its header says, or what an earlier call has made for it. */
async function candidates(
  { id: guestId }: Guest,
  dev: string,
  { target: { volume }, probe, state, live }: Seen,
  { keyring }: Resources,
): Promise<KeyUuid[]> {
  const { path } = volume;
  const opened = live && volumeName(live.volume) === path ? live.encryption_secret_uuid : undefined;
  const copied = "secretUuid" in state && state.to === path ? state.secretUuid : undefined;
  if (probe === undefined) return [opened ?? copied].filter((uuid) => uuid !== undefined);
  if (probe.kind === "luks") return [probe.header.uuid];
  const keystores = await keyring.all();
  const query = { guestId, volume: path, state: "pending" } as const;
  const found = (await Promise.all(keystores.map((keystore) => keystore.find(query)))).flat();
  return found.filter(({ disk }) => disk === dev).map(keyUuidOf);
}

async function firstOf(
  uuids: readonly KeyUuid[],
  { keyring }: Resources,
  session: KeySession,
): Promise<KnownKey | undefined> {
  for (const uuid of uuids) {
    const located = await keyring.locate(uuid);
    if (located.kind === "unavailable") throw located.error;
    if (located.kind !== "found") continue;
    session.add(uuid, located.key, located);
    return { keystore: located.keystore.name, record: located.key.record };
  }
  return undefined;
}

async function userOf(
  guest: ConfiguredGuest,
  { volume }: ConvertTarget,
  known: KnownKey | undefined,
  { host }: Resources,
): Promise<VolumeUser | undefined> {
  // no disk has this name: the target is none of the guest's disks
  const wanted = { dev: "", volume, uuid: known && keyUuidOf(known.record) };
  return await findUser(host, guest, wanted);
}
