import { LuksmithError } from "../../error/luksmith-error.js";
import { shellWord } from "../../error/shell-word.js";
import type { CommandRunner } from "../../exec/command-runner.js";
import { BlockDevice } from "../block/block-device.js";
import type { ImageLock } from "../image-lock.js";
import { volumeUnwritable } from "../volume-error.js";
import { type Access, VolumeFile } from "../volume-file.js";
import type { ZfsDataset } from "./zfs-dataset.js";

/**
 * A ZFS volume that is open: a block device of which ZFS knows more than the kernel. What ZFS says of the space that it
 * takes (`referenced`, `written`) proves nothing: metadata counts, and what was written a moment ago does not.
 */
export class Zvol extends BlockDevice {
  private constructor(
    runner: CommandRunner,
    file: VolumeFile,
    private readonly dataset: ZfsDataset,
  ) {
    super(runner, file);
  }

  /** @throws as `VolumeFile.open`; VOLUME_UNREADABLE where ZFS has the volume and no device of it */
  static async of(runner: CommandRunner, dataset: ZfsDataset, access: Access): Promise<Zvol> {
    try {
      return new Zvol(runner, await VolumeFile.open(dataset.path, access, "block device"), dataset);
    } catch (thrown) {
      throw thrown instanceof LuksmithError ? await explained(thrown, dataset) : thrown;
    }
  }

  override async lock(volumeLock: number): Promise<ImageLock> {
    try {
      return await super.lock(volumeLock);
    } catch (thrown) {
      throw thrown instanceof LuksmithError ? await explained(thrown, this.dataset) : thrown;
    }
  }

  /** A snapshot could bring back what the volume was, in plaintext; a clone lies in clear in what it was cloned from. */
  override async obstacle(): Promise<string | undefined> {
    const { length } = await this.dataset.snapshots();
    if (length > 0) return length === 1 ? "a snapshot" : `${length} snapshots`;
    const origin = (await this.dataset.properties("origin")).get("origin");
    return origin === "-" ? undefined : `a clone of ${origin ?? "a snapshot"}`;
  }
}

/** The error of opening a device, in ZFS's terms where ZFS can tell. */
async function explained(error: LuksmithError, dataset: ZfsDataset): Promise<LuksmithError> {
  const { code } = error;
  if (code !== "VOLUME_NOT_FOUND" && code !== "VOLUME_WRITE_FAILED") return error;
  const properties = await dataset
    .properties("type", "volmode", "keystatus", "readonly")
    .catch((thrown: unknown) => {
      // no such dataset, or nobody who could tell: the kernel's answer stands
      if (thrown instanceof LuksmithError) return undefined;
      throw thrown;
    });
  if (properties === undefined) return error;
  if (code === "VOLUME_NOT_FOUND") return withoutDevice(dataset, properties);
  return properties.get("readonly") === "on"
    ? volumeUnwritable(dataset.path, "its ZFS property readonly is on")
    : error;
}

function withoutDevice({ name, path }: ZfsDataset, properties: ReadonlyMap<string, string>): LuksmithError {
  const what = `cannot read volume ${path}`;
  const type = properties.get("type") ?? "dataset";
  if (type !== "volume") {
    return new LuksmithError("VOLUME_UNREADABLE", { what, why: `${name} is a ${type} of ZFS and no volume` });
  }
  if (properties.get("keystatus") === "unavailable") {
    return new LuksmithError("VOLUME_UNREADABLE", {
      what,
      why: "the key of its ZFS encryption is not loaded",
      hint: `zfs load-key -r ${shellWord(name)}`,
    });
  }
  if (properties.get("volmode") === "none") {
    return new LuksmithError("VOLUME_UNREADABLE", {
      what,
      why: "its ZFS property volmode is none, so that it has no device",
      hint: `zfs set volmode=dev ${shellWord(name)}`,
    });
  }
  return new LuksmithError("VOLUME_UNREADABLE", {
    what,
    why: "ZFS has the volume, and it has no device",
    hint: "udev makes it; see also the parameters zvol_inhibit_dev and zvol_volmode of the module zfs",
  });
}
