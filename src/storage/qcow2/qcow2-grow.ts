import type { LuksHeader } from "../../encryption/luks-header.js";
import { LuksmithError } from "../../error/luksmith-error.js";
import type { CommandRunner } from "../../exec/command-runner.js";
import type { KeyUuid } from "../../keystore/key-uuid.js";
import { openMemoryFile, secretFile } from "../../secret/secret-file.js";
import { holdEntry } from "./qcow2-entry.js";
import { QCOW2_HEADER_AREA, type Qcow2Header, readQcow2Header } from "./qcow2-header.js";
import { probeQcow2 } from "./qcow2-probe.js";
import { wholeSectors } from "../sectors.js";
import type { GrowRequest } from "../storage-backend.js";
import {
  notFormatted,
  passphraseRejected,
  refuseShrinking,
  volumeBusy,
  volumeNotGrown,
  volumeUnreadable,
} from "../volume-error.js";
import { VolumeFile } from "../volume-file.js";
import type { VolumeLocks } from "../volume-lock.js";

/** Of an overlay that grows by terabytes, QEMU writes tables of many MiB. */
const TIMEOUT = 600_000;

/**
 * `StorageBackend.grow` for the image at `path`: QEMU enlarges it itself while a guest runs. The base of an overlay is
 * not opened: what it has behind the overlay's end is hidden, as the guest never saw it.
 */
export async function growQcow2(
  path: string,
  { header, guestSize: asked, guest, passphrase }: GrowRequest,
  { runner, locks }: { readonly runner: CommandRunner; readonly locks: VolumeLocks },
): Promise<bigint> {
  const guestSize = wholeSectors(asked);
  return await holdEntry(locks, path, async (real, volumeLock) => {
    await using file = await VolumeFile.open(real, "read");
    const image = await imageOf(runner, file, header);
    refuseShrinking(path, BigInt(image.size), guestSize);
    if (guest === "running" || BigInt(image.size) === guestSize) return guestSize;
    const obstacle = obstacleTo(image);
    if (obstacle !== undefined) throw volumeNotGrown(path, obstacle, WHILE_IT_RUNS);
    await resize(runner, { file, image, guestSize, passphrase, volumeLock });
    return guestSize;
  });
}

/** @throws VOLUME_UNREADABLE, LUKS_UUID_MISMATCH and what else speaks against an image that is not under `header` */
async function imageOf(runner: CommandRunner, file: VolumeFile, { uuid }: LuksHeader): Promise<Qcow2Header> {
  const probe = await probeQcow2(runner, file, "header");
  if (probe.kind !== "luks") {
    throw notFormatted(file.name, probe.kind === "empty" ? { kind: "empty" } : probe);
  }
  if (probe.header.uuid !== uuid) throw ofAnotherKey(file.name, probe.header, uuid);
  const answer = readQcow2Header(await file.read(0, QCOW2_HEADER_AREA));
  if (answer.kind !== "qcow2")
    throw volumeUnreadable(file.name, "its qcow2 header changed while it was read");
  return answer.header;
}

const WHILE_IT_RUNS = "resize it while its guest runs: virsh blockresize";

/** Why the image cannot be enlarged without opening another file, in words. */
function obstacleTo({
  externalDataFile,
  backing,
  version,
  size,
  clusterSize,
}: Qcow2Header): string | undefined {
  if (externalDataFile) return "it has an external data file";
  if (backing === undefined) return undefined;
  if (version === 2) return "an overlay of qcow2 version 2 cannot hide what its base has behind its end";
  // to hide the rest of the last cluster, QEMU copies its start from the base
  return size % clusterSize > 0 ? "it is an overlay that ends within a cluster" : undefined;
}

interface Resize extends Pick<GrowRequest, "guestSize" | "passphrase"> {
  readonly file: VolumeFile;
  readonly image: Qcow2Header;
  /** Is inherited: after our death, nobody gets that lock while the image is still being resized. */
  readonly volumeLock: number;
}

async function resize(
  runner: CommandRunner,
  { file, image, guestSize, passphrase, volumeLock }: Resize,
): Promise<void> {
  using key = secretFile(passphrase);
  // in place of the base, and longer than the overlay was, so that QEMU marks all of the new part as zero
  using standIn = openMemoryFile(image.size + image.clusterSize);
  const fileAt = (fd: number) => ({ driver: "file", filename: `/proc/self/fd/${fd}` });
  const node = {
    ...{ driver: "qcow2", encrypt: { format: "luks", "key-secret": "key" }, file: fileAt(4) },
    backing: image.backing === undefined ? null : { driver: "raw", file: fileAt(5) },
  };
  const { exitCode, stderr } = await runner.run({
    tool: "qemu-img",
    args: [
      ...["resize", "-q", "--object", "secret,id=key,file=/proc/self/fd/3"],
      ...["--", `json:${JSON.stringify(node)}`, String(guestSize)],
    ],
    fds: [key.fd, file.fd, standIn.fd, volumeLock],
    timeout: TIMEOUT,
    // the text says why
    answers: [1],
  });
  if (exitCode === 1) throw notResized(file.name, stderr);
}

function notResized(name: string, stderr: string): LuksmithError {
  if (/Failed to get .*lock/.test(stderr)) return volumeBusy(name);
  if (stderr.includes("Invalid password")) return passphraseRejected(name);
  const why = stderr.trimEnd().split("\n").at(-1) ?? "";
  return volumeNotGrown(name, why.replace(/^qemu-img: /, ""));
}

function ofAnotherKey(name: string, found: LuksHeader, uuid: KeyUuid): LuksmithError {
  return new LuksmithError("LUKS_UUID_MISMATCH", {
    what: `cannot enlarge volume ${name}`,
    why: `it has LUKS UUID ${found.uuid} and not ${uuid}`,
    hint: "find out who has put another volume in its place",
  });
}
