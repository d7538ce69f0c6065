import { PAYLOAD_OFFSET } from "../../encryption/luks-header.js";
import { LuksmithError } from "../../error/luksmith-error.js";
import type { CommandRunner } from "../../exec/command-runner.js";
import { askLvm, runLvm } from "./lvm-command.js";
import { fullName, type LvName } from "./lvm-name.js";
import { type LvReport, reportLv } from "./lvm-report.js";
import { wholeSectors } from "../sectors.js";
import { volumeExists, volumeNotAllocated } from "../volume-error.js";
import { VolumeFile } from "../volume-file.js";
import type { VolumeLocks } from "../volume-lock.js";

/** Where a new logical volume comes from: extents of its group, which hold what they held, or blocks of a thin pool. */
export type AllocationPlace =
  { readonly kind: "group" } | { readonly kind: "thin-pool"; readonly pool: string };

/** Bytes that are overwritten by one command. */
const STEP = 1024 ** 3;
const STEP_TIMEOUT = 600_000;

/** `VolumeAllocator.allocate` for a logical volume. */
export async function allocateLv(
  path: string,
  lv: LvName,
  guestSize: bigint,
  place: AllocationPlace,
  { runner, locks }: { readonly runner: CommandRunner; readonly locks: VolumeLocks },
): Promise<bigint> {
  return await locks.hold(`size of logical volume ${fullName(lv)}`, async () => {
    try {
      if ((await reportLv(runner, lv)) !== undefined) throw volumeExists(path);
      return await create(runner, path, lv, wholeSectors(guestSize) + BigInt(PAYLOAD_OFFSET), place);
    } catch (thrown) {
      if (!(thrown instanceof LuksmithError) || thrown.code === "VOLUME_EXISTS") throw thrown;
      throw volumeNotAllocated(path, thrown.why ?? thrown.message);
    }
  });
}

async function create(
  runner: CommandRunner,
  path: string,
  lv: LvName,
  size: bigint,
  place: AllocationPlace,
): Promise<bigint> {
  const answer = await askLvm(runner, "lvcreate", [
    // it would ask before it wipes what it finds
    "--yes",
    ...sizeArguments(place, size),
    ...["--name", lv.volume, "--", lv.group],
  ]);
  if (answer.kind === "failed")
    throw / already exists/.test(answer.reason)
      ? volumeExists(path)
      : volumeNotAllocated(path, answer.reason);
  const made = await reportLv(runner, lv);
  if (made === undefined) throw volumeNotAllocated(path, "it was removed at once");
  if (place.kind === "thin-pool") return made.size;
  try {
    await overwrite(runner, path, made);
    return made.size;
  } catch (thrown) {
    // whatever has this name by now: only the one that was made here
    await runLvm(runner, "lvremove", ["--yes", "--select", `lv_uuid=${made.uuid}`, "--", lv.group]);
    throw thrown;
  }
}

function sizeArguments(place: AllocationPlace, size: bigint): string[] {
  switch (place.kind) {
    case "group":
      // nobody may find, and act on, what the extents hold before they are overwritten
      return ["--type", "linear", "--wipesignatures", "y", "--zero", "y", "--size", `${size}b`];
    case "thin-pool":
      return ["--type", "thin", "--thinpool", place.pool, "--virtualsize", `${size}b`];
  }
}

/** Extents hold what the volume before held: a volume is empty, and may be formatted, once it is all zeros. */
async function overwrite(runner: CommandRunner, path: string, { size }: LvReport): Promise<void> {
  await using file = await VolumeFile.open(path, "read-write", "block device");
  for (let offset = 0; offset < size; offset += STEP) {
    const length = Math.min(STEP, Number(size) - offset);
    await runner.run({
      tool: "blkdiscard",
      args: ["--zeroout", "--offset", `${offset}`, "--length", `${length}`, "--", "/proc/self/fd/3"],
      fds: [file.fd],
      timeout: STEP_TIMEOUT,
    });
  }
  await file.sync();
}
