import { LuksmithError } from "../error/luksmith-error.js";
import type { CommandRunner } from "../exec/command-runner.js";
import type { KeyUuid } from "../keystore/key-uuid.js";
import type { StorageRegistry } from "../storage/index.js";
import { type Volume, volumeName } from "../storage/volume.js";
import { VolumeFile } from "../storage/volume-file.js";
import { volumesNamed } from "./volumes-named.js";

export interface Renamed {
  /** The copy. */
  readonly volume: Volume;
  /** What the key that it was copied with was made for, by the record. */
  readonly original: string;
  readonly former: KeyUuid;
  /** What the copy's header says by now. */
  readonly uuid: KeyUuid;
}

/**
 * One volume can have two names that nothing tells apart: an export that is mounted twice, paths to one LUN, a loop
 * device and its file. What was written to the one shows on the other, though: looks at the original's header, on the
 * storage and not in the kernel's memory.
 * @throws KEY_IN_USE unless the original is there, with the header that it had
 */
export async function requireApart(
  { volume, original, former, uuid }: Renamed,
  { storage, runner }: { readonly storage: StorageRegistry; readonly runner: CommandRunner },
): Promise<void> {
  const found: (string | undefined)[] = [];
  for (const reading of volumesNamed(original)) {
    const backend = await storage.findBackend(reading);
    if (backend === undefined) continue;
    await forgetContent(reading, runner);
    const probe = await backend.probe(reading, "header");
    if (probe.kind === "luks") found.push(probe.header.uuid);
    if (probe.kind === "bad-luks") found.push(probe.claimedUuid);
  }
  const name = volumeName(volume);
  if (found.includes(uuid)) {
    throw new LuksmithError("KEY_IN_USE", {
      what: `${name} is no copy, but ${original} by another name`,
      why: "what was written to the one is on the other",
      hint: "its header is as it was; two guests, or two disks, have one volume: see which of them is to have it",
    });
  }
  if (found.includes(former)) return;
  throw new LuksmithError("KEY_IN_USE", {
    what: `cannot tell any more whether ${name} is a copy`,
    why: `${original}, which it was taken for a copy of, cannot be read with its LUKS header`,
    hint: "its header is as it was; see to that volume, and run it again",
  });
}

/** The kernel remembers a volume under each of its names by itself, and NFS under each mount. */
async function forgetContent(volume: Volume, runner: CommandRunner): Promise<void> {
  if (volume.kind !== "file" && volume.kind !== "block") return;
  await using file = await openIfThere(volume);
  if (file === undefined) return;
  const fds = [file.fd];
  if (volume.kind === "block") {
    await runner.run({ tool: "blockdev", args: ["--flushbufs", "/proc/self/fd/3"], fds });
    return;
  }
  // POSIX_FADV_DONTNEED on all of it, which leaves what is not written yet: that comes first
  await file.sync();
  await runner.run({ tool: "dd", args: ["if=/proc/self/fd/3", "iflag=nocache", "count=0"], fds });
}

/** A logical volume that is not active has no device, and nothing that could be remembered of it. */
async function openIfThere({
  kind,
  path,
}: Extract<Volume, { kind: "file" | "block" }>): Promise<VolumeFile | undefined> {
  try {
    return await VolumeFile.open(path, "read", kind === "file" ? "regular file" : "block device");
  } catch (thrown) {
    if (thrown instanceof LuksmithError && thrown.code === "VOLUME_NOT_FOUND") return undefined;
    throw thrown;
  }
}
