import type { CommandRunner } from "../exec/command-runner.js";
import { findLv } from "../storage/lvm/lvm-lookup.js";
import type { LvName } from "../storage/lvm/lvm-name.js";
import { dependentsOf } from "../storage/lvm/lvm-report.js";
import { QCOW2_HEADER_AREA, readQcow2Header } from "../storage/qcow2/qcow2-header.js";
import { type Volume, volumeName } from "../storage/volume.js";
import { VolumeFile } from "../storage/volume-file.js";

/** What a volume is besides its bytes, and a copy of these would lose. */
export interface ImageShape {
  /** Snapshots of it, be they inside a qcow2 image or LVM's. */
  readonly snapshots: number;
  /** Undefined where it is no logical volume. */
  readonly lv?: LvName | undefined;
  /** Whether it is an overlay, and if so, whether it says of what format its base is. */
  readonly overlay?: "of a known format" | "of an unknown format";
  /** Its data lie in another file. */
  readonly externalData?: true;
}

/** @throws VOLUME_UNREADABLE, VOLUME_NOT_FOUND */
export async function shapeOf(volume: Volume, runner: CommandRunner): Promise<ImageShape> {
  if (volume.kind === "block") {
    const lv = await lvOf(volume.path, runner);
    return { lv, snapshots: lv === undefined ? 0 : await dependentsOf(runner, volumeName(volume), lv) };
  }
  if (volume.kind !== "file" || volume.format !== "qcow2") return { snapshots: 0 };
  await using file = await VolumeFile.open(volume.path, "read");
  const image = readQcow2Header(await file.read(0, QCOW2_HEADER_AREA));
  // what is no qcow2 image is refused by whoever opens it
  if (image.kind !== "qcow2") return { snapshots: 0 };
  const { snapshots, backing, externalDataFile } = image.header;
  return {
    snapshots,
    ...(backing && {
      overlay: backing.format === undefined ? "of an unknown format" : "of a known format",
    }),
    ...(externalDataFile && { externalData: true }),
  };
}

/** By whatever path the guest has it. */
async function lvOf(path: string, runner: CommandRunner): Promise<LvName | undefined> {
  const found = await findLv(runner, path);
  return found === undefined || found.kind === "refused" ? undefined : found.lv;
}
