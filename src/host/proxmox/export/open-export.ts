import {
  chmodSync,
  closeSync,
  existsSync,
  ftruncateSync,
  openSync,
  readlinkSync,
  symlinkSync,
  utimesSync,
} from "node:fs";
import { dirname } from "node:path";
import { LuksmithError } from "../../../error/luksmith-error.js";
import { makeDirectory } from "../../../fs/atomic-file.js";
import { ifThere } from "../../../fs/if-there.js";
import type { KeyUuid } from "../../../keystore/key-uuid.js";
import { secretFile } from "../../../secret/secret-file.js";
import { notFormatted, passphraseRejected } from "../../../storage/volume-error.js";
import { volumeName } from "../../../storage/volume.js";
import type { BaseStorage } from "../base/base-storage.js";
import { backendOf } from "../bridge/opened-volume.js";
import { endExport, exportedMount } from "./end-export.js";
import { type ExportName, ExportPlace } from "./export-place.js";
import { makeExportView } from "./export-view.js";
import { mountOn } from "./fuse-mount.js";
import { keyOf } from "./key-of.js";
import { Qmp } from "./qmp.js";
import type { OpenResources } from "./resources.js";
import {
  type Access,
  type Daemon,
  daemonsOf,
  PASSPHRASE_FD,
  secretOf,
  startDaemon,
  within,
} from "./storage-daemon.js";
import { openersOf } from "./volume-openers.js";

/** Milliseconds that a daemon may take whose starter was killed. */
const STARTING = 10_000;

/**
 * Shows the decrypted volume as a file that root alone can open, until `closeExport`: it can be written and enlarged,
 * unless it is a template or a snapshot. Idempotent, also for several at once; what a dead daemon left is replaced.
 * @returns the file's path
 * @throws VOLUME_NOT_FOUND, VOLUME_UNREADABLE, VOLUME_NOT_FORMATTED, LUKS_HEADER_INVALID, VOLUME_BUSY (another process
 *   has the volume open), KEY_NOT_FOUND and what keeps a keystore from answering, PASSPHRASE_REJECTED, TOOL_FAILED,
 *   TOOL_MISSING, LOCK_TIMEOUT
 */
export async function openExport(name: ExportName, resources: OpenResources): Promise<string> {
  const place = new ExportPlace(resources.places, name);
  return await resources.locks.hold(place.lock, async () => {
    const key = await readKeyUuid(name, resources);
    const daemon = await servingDaemon(place);
    refuseUnseen(place);
    if (daemon?.key === key) {
      await forgetPassphrase(place, daemon);
      const now = new Date();
      utimesSync(place.pidFile, now, now);
      return place.image;
    }
    // it shows another volume, which had this name once, or nothing any more
    await endExport(place, resources, daemon === undefined ? "whoever uses it" : "unless it is used");
    await start(place, key, resources);
    return place.image;
  });
}

async function readKeyUuid(name: ExportName, { base, storage }: OpenResources): Promise<KeyUuid> {
  // ZFS shows a snapshot's device only when asked to, and its volume has the same header
  const snapshot = base.type === "zfs" ? undefined : name.snapshot;
  const volume = base.volume(name.volume, snapshot);
  const probe = await whileActive(base, name.volume, snapshot, async () => {
    return await backendOf(base, storage).probe(volume, "header");
  });
  if (probe.kind === "luks") return probe.header.uuid;
  throw notFormatted(volumeName(volume), probe);
}

/** One that has mounted its file; waits for one that is about to. */
async function servingDaemon(place: ExportPlace): Promise<Daemon | undefined> {
  const isServing = () => exportedMount(place) !== undefined && existsSync(place.pidFile);
  if (daemonsOf(place).length === 0) return undefined;
  const isDecided = await within(STARTING, () => isServing() || daemonsOf(place).length === 0);
  return isDecided ? daemonsOf(place)[0] : undefined;
}

/** @throws VOLUME_BUSY for an export that this process cannot see, and others can: it is theirs */
function refuseUnseen(place: ExportPlace): void {
  const [daemon] = daemonsOf(place);
  if (daemon === undefined || mountOn(place.image) !== undefined || exportedMount(place) === undefined)
    return;
  throw new LuksmithError("VOLUME_BUSY", {
    what: `cannot export volume ${place.label}`,
    why: `process ${daemon.pid} exports it to processes with other mounts than this one`,
    hint: `use it there: nsenter --mount --target ${daemon.pid}; or, when nobody does, end it: kill ${daemon.pid}`,
  });
}

async function start(place: ExportPlace, key: KeyUuid, resources: OpenResources): Promise<void> {
  const { base } = resources;
  const { volume, snapshot } = place.name;
  const access = await accessTo(place, base);
  using passphrase = (await keyOf(key, place, resources)).passphrase;
  using file = secretFile(passphrase);
  await makeExportView(resources);
  for (const path of [place.mountpoint, place.pidFile]) makeDirectory(dirname(path), 0o700);
  try {
    closeSync(openSync(place.mountpoint, "wx", 0o400));
    symlinkSync(place.pidFile, place.pidLink);
    const node = base.qemuNode(volume, snapshot, secretOf(key));
    await whileActive(base, volume, snapshot, async () => {
      const request = { place, key, node, access, passphrase: file.fd } as const;
      const { exitCode, stderr } = await startDaemon(resources.runner, request);
      if (exitCode !== 0) throw explained(place, stderr);
    });
    const daemon = await servingDaemon(place);
    if (daemon === undefined) throw notExported(place, "its storage daemon ended at once");
    await forgetPassphrase(place, daemon);
  } catch (thrown) {
    await endExport(place, resources, "whoever uses it");
    throw thrown;
  }
}

/** @throws VOLUME_BUSY */
async function accessTo(place: ExportPlace, base: BaseStorage): Promise<Access> {
  const { volume: name, snapshot } = place.name;
  if (snapshot !== undefined || name.startsWith("base-")) return "read";
  const volume = base.volume(name);
  const openers = "path" in volume ? openersOf(volume.path) : [];
  const writer = openers.find(({ access }) => access === "write");
  if (writer !== undefined) throw busy(place, `${writer.command} (process ${writer.pid}) has it open`);
  if (CLOUD_INIT.test(name) && openers.length > 0) return "read-write beside readers";
  // of what neither that nor QEMU's lock tells: other mappings of a device, and clients of Ceph on other hosts
  if (base.type !== "directory") await base.requireUnused(name);
  return "read-write";
}

/** Proxmox VE makes the drive anew while the guest, which has it as a CD-ROM, runs. */
const CLOUD_INIT = /^vm-[0-9]+-cloudinit$/;

/** The daemon that has it open by then keeps it active. */
async function whileActive<T>(
  base: BaseStorage,
  name: string,
  snapshot: string | undefined,
  work: () => Promise<T>,
): Promise<T> {
  const activation = await base.activate(name, snapshot);
  try {
    return await work();
  } finally {
    await activation[Symbol.asyncDispose]();
  }
}

/** It has the volume key by now. Does what an opener that was killed could not. */
async function forgetPassphrase(place: ExportPlace, { pid, key }: Daemon): Promise<void> {
  ifThere(() => emptyUnnamed(`/proc/${pid}/fd/${PASSPHRASE_FD}`));
  chmodSync(place.socket, 0o600);
  using qmp = await Qmp.open(place.socket);
  // refused where there is none any more
  await qmp.execute("object-del", { id: secretOf(key) });
}

function emptyUnnamed(path: string): void {
  if (!readlinkSync(path).endsWith(" (deleted)")) return;
  const fd = openSync(path, "r+");
  ftruncateSync(fd);
  closeSync(fd);
}

function explained(place: ExportPlace, stderr: string): LuksmithError {
  if (/Failed to get .*lock/.test(stderr)) return busy(place, "another QEMU process has it open");
  if (/Invalid password/.test(stderr)) return passphraseRejected(place.label);
  return notExported(place, stderr.trimEnd().split("\n").at(-1) ?? "");
}

function notExported(place: ExportPlace, why: string): LuksmithError {
  return new LuksmithError("TOOL_FAILED", {
    what: `cannot export volume ${place.label}`,
    why,
    ...(why.includes("fuse") ? { hint: "see that the host has /dev/fuse: modprobe fuse" } : {}),
  });
}

function busy(place: ExportPlace, why: string): LuksmithError {
  return new LuksmithError("VOLUME_BUSY", {
    what: `cannot export volume ${place.label}`,
    why,
    hint: "stop the guest or the program that uses it",
  });
}
