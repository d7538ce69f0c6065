import { rm } from "node:fs/promises";
import { PAYLOAD_OFFSET } from "../../encryption/luks-header.js";
import { asLuksmithError } from "../../error/luksmith-error.js";
import type { CommandRunner } from "../../exec/command-runner.js";
import type { Undo } from "../../plan/execute.js";
import { allocateFile } from "../../storage/file-allocation.js";
import { canAllocate, provesEmptiness } from "../../storage/storage-backend.js";
import type { PathVolume } from "../../storage/volume.js";
import { VolumeFile } from "../../storage/volume-file.js";
import { sizeDiffers } from "./online-refusals.js";
import type { OnlinePlan } from "./plan-online.js";

/** Makes the new volume. Resolves to what takes it away again, where that can be done. @throws VOLUME_ALLOCATE_FAILED, … */
export async function allocateTarget(
  { facts, record }: OnlinePlan,
  runner: CommandRunner,
): Promise<Undo | undefined> {
  const { target, backend, size } = facts;
  const { volume, pool } = target;
  if (record === undefined) await allocatePlain(volume, size, runner);
  else if (canAllocate(backend))
    await backend.allocate({ volume, guestSize: size, ...(pool === undefined ? {} : { pool }) });
  if (volume.kind !== "file") return undefined;
  // somebody may have been faster
  return () => rm(volume.path, { force: true });
}

async function allocatePlain(volume: PathVolume, size: bigint, runner: CommandRunner): Promise<void> {
  await allocateFile(volume.path, async (file) => {
    if (volume.format === "raw") await file.truncate(Number(size));
    else
      await runner.run({
        tool: "qemu-img",
        args: ["create", "-q", "-f", "qcow2", "--", "/proc/self/fd/3", String(size)],
        fds: [file.fd],
      });
  });
}

/** Before anything is written to a volume that was there. @throws VOLUME_TOO_SMALL, VOLUME_UNSUPPORTED (larger) */
export async function requireRoom({ facts, disk, record, allocate }: OnlinePlan): Promise<void> {
  const { volume } = facts.target;
  if (allocate || record === undefined || volume.format !== "raw") return;
  const header = BigInt(PAYLOAD_OFFSET);
  const has = (await sizeOf(volume)) - header;
  if (has !== facts.size) throw sizeDiffers(disk, facts, { has, header });
}

/** @throws VOLUME_TOO_SMALL, VOLUME_UNSUPPORTED (larger), VOLUME_NOT_EMPTY */
export async function requireTarget(plan: OnlinePlan): Promise<void> {
  const { facts, disk, record } = plan;
  const { backend, target } = facts;
  // what was made here and now is empty; what an earlier call has made is written anew
  const isOurs = plan.allocate || facts.noted?.target === "made";
  if (record === undefined && !isOurs && provesEmptiness(backend)) await backend.requireEmpty(target.volume);
  const has = await guestBytes(plan);
  const isHeadless = record === undefined || target.volume.format !== "raw";
  const header = isHeadless ? 0n : BigInt(PAYLOAD_OFFSET);
  if (has !== undefined && has !== facts.size) throw sizeDiffers(disk, facts, { has, header });
}

/** Undefined for a plain image whose own header says it: QEMU refuses another size. */
async function guestBytes({ facts, record }: OnlinePlan): Promise<bigint | undefined> {
  const { volume } = facts.target;
  if (record !== undefined) {
    const probe = await facts.backend.probe(volume, "header");
    return probe.kind === "luks" ? await facts.backend.guestSize(volume, probe.header) : undefined;
  }
  return volume.format === "raw" ? await sizeOf(volume) : undefined;
}

async function sizeOf({ kind, path }: PathVolume): Promise<bigint> {
  await using file = await VolumeFile.open(path, "read", kind === "block" ? "block device" : "regular file");
  return BigInt(file.size);
}

/** Whether the volume that QEMU writes to still is what its name leads to: a guest is given nothing that has no name. */
export async function isInPlace({ facts, mirror }: OnlinePlan): Promise<boolean> {
  const probe = await facts.backend.probe(mirror.volume, "header");
  if (mirror.secretUuid === undefined) return probe.kind !== "absent" && probe.kind !== "unreadable";
  return probe.kind === "luks" && probe.header.uuid === mirror.secretUuid;
}

/** On the way out of a failure, whose error is the one to report. */
export async function undone(
  undo: Undo,
  log: (what: string, fields: { error: ReturnType<typeof asLuksmithError> }) => void,
): Promise<"undone" | "failed"> {
  try {
    await undo();
    return "undone";
  } catch (thrown) {
    log("could not undo a step", { error: asLuksmithError(thrown) });
    return "failed";
  }
}
