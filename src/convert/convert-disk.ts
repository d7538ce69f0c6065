import { mappingName } from "../encryption/dm-crypt/mapping-name.js";
import type { MappingRequest } from "../encryption/encryption-provider.js";
import { PAYLOAD_OFFSET } from "../encryption/luks-header.js";
import { asLuksmithError, LuksmithError } from "../error/luksmith-error.js";
import type { CommandRunner } from "../exec/command-runner.js";
import { keyUuidOf } from "../keystore/key-record.js";
import { formatBytes } from "../plan/bytes.js";
import { guestWord, protectCommand } from "../plan/commands.js";
import type { Undo } from "../plan/execute.js";
import type { KeySession } from "../plan/key-session.js";
import { type Resources, StepPerformer } from "../plan/perform.js";
import { canAllocate } from "../storage/storage-backend.js";
import { volumeName } from "../storage/volume.js";
import { VolumeFile } from "../storage/volume-file.js";
import type { VolumeLocks } from "../storage/volume-lock.js";
import { type DiskEnd, mappedEnd, nativeEnd } from "./disk-end.js";
import { requireShutOff, requireSource } from "./guest-meanwhile.js";
import type { ConvertPlan } from "./plan-convert.js";
import { type CopyRequest, type Percent, VolumeCopier } from "./volume-copier.js";

export interface ConvertPorts {
  readonly resources: Resources;
  readonly session: KeySession;
  readonly runner: CommandRunner;
  readonly locks: VolumeLocks;
  readonly watcher: Watcher;
}

/** Hears how far it is. */
export interface Watcher {
  /** What was done, for people. */
  done(what: string): void;
  /** A long task begins; whoever has it says how far it is, and ends it. */
  begin(task: string): Disposable & { readonly percent: Percent };
}

/**
 * Copies a plain volume into a LUKS volume, verifies it, and gives it to the guest in the old one's place. Whatever
 * happens, the old volume is only read, and until all was verified the guest's configuration is as it was: killed at
 * any instruction, a further call goes on. Its key is pending until the guest has the new volume, and a pending key's
 * volume was never given to it: that is why a half-written copy may be written again.
 * @throws CONVERT_FAILED, and what keeps a step from being done
 */
export async function convertDisk(plan: ConvertPlan, ports: ConvertPorts): Promise<void> {
  const path = volumeName(plan.target.volume);
  // qemu-img inherits it: nobody else writes to the new volume while one that outlives us does
  await ports.locks.hold(`conversion into ${path}`, (lock) => new Conversion(plan, ports, lock).run());
}

class Conversion {
  readonly #performer: StepPerformer;
  readonly #copier: VolumeCopier;

  constructor(
    private readonly plan: ConvertPlan,
    private readonly ports: ConvertPorts,
    private readonly lock: number,
  ) {
    const { resources, session, runner } = ports;
    this.#performer = new StepPerformer(plan.guest, resources, session);
    this.#copier = new VolumeCopier(runner);
  }

  async run(): Promise<void> {
    await using source = await this.openSource();
    // from here on no start of the guest can open the volume; one that began before is seen now
    requireShutOff(await this.ports.resources.host.readGuest(this.plan.guest.id));
    await this.prepareTarget(source.size);
    {
      await using target = await this.openTarget();
      if (target.size < source.size) throw this.tooSmall(target.size, source.size);
      await this.fill(source, target);
    }
    await this.hand();
  }

  private openSource(): Promise<DiskEnd> {
    const { uuid, annotation, record } = this.plan.source;
    const { mapping: name, volume } = annotation;
    // the guest's own name: one that is left by a kill is closed by the guest's next start
    const request = { name, volume, uuid, spec: record.encryption, access: "read" } as const;
    return this.openMapped({ ...request, ...this.owner() });
  }

  /** A key, a volume and a header; what an earlier try has made is taken as it is. */
  private async prepareTarget(size: bigint): Promise<void> {
    const { target, record, allocate, steps } = this.plan;
    if (steps.format === undefined) return;
    if (!allocate) await this.requireRoom(size);
    const undo = steps.store && (await this.#performer.perform(steps.store));
    try {
      if (allocate) await this.allocate(size);
      await this.#performer.perform(steps.format);
    } catch (thrown) {
      await this.undone(undo);
      throw thrown;
    }
    this.done(`formatted ${volumeName(target.volume)} under key ${record.uuid}`);
  }

  private async allocate(guestSize: bigint): Promise<void> {
    const { target, backend } = this.plan;
    if (!canAllocate(backend)) throw new Error(`storage ${backend.type} makes no volumes`);
    const { volume, pool } = target;
    const size = await backend.allocate({ volume, guestSize, ...(pool === undefined ? {} : { pool }) });
    this.done(`made ${volumeName(volume)} of ${formatBytes(size)}`);
  }

  private openTarget(): Promise<DiskEnd> {
    const { record, target, provider } = this.plan;
    const { volume } = target;
    const uuid = keyUuidOf(record);
    if (provider === "native") return this.openNative();
    const request = { name: mappingName(volume, uuid), volume, uuid, spec: record.encryption };
    return this.openMapped({ ...request, ...this.owner() });
  }

  private async openNative(): Promise<DiskEnd> {
    const { record, target, backend } = this.plan;
    const { volume } = target;
    const probe = await backend.probe(volume, "header");
    if (probe.kind !== "luks") throw this.failed("its new volume has lost its LUKS header");
    const size = await backend.guestSize(volume, probe.header);
    const passphrase = this.ports.session.passphrase(keyUuidOf(record));
    return await nativeEnd({ volume, backend, size, passphrase }, this.ports.runner);
  }

  private openMapped(request: MappingRequest): Promise<DiskEnd> {
    const { resources, runner, session } = this.ports;
    const { mappings, logger } = resources;
    return mappedEnd(request, session.passphrase(request.uuid), { mappings, logger, runner });
  }

  private async fill(source: DiskEnd, target: DiskEnd): Promise<void> {
    const request: CopyRequest = { source, target, size: source.size, lock: this.lock };
    if (this.plan.copy === "again") {
      await this.long("copying", (percent) => this.#copier.copy(request, percent));
      this.done(`copied ${formatBytes(request.size)}`);
    }
    await Promise.all([source.settle(), target.settle()]);
    const answer = await this.long("verifying", (percent) => this.#copier.compare(request, percent));
    if (answer === "different") throw this.different();
    this.done("verified that every byte is the same");
  }

  /** One change of the configuration; the guest's next start would activate the key as well. */
  private async hand(): Promise<void> {
    const { disk, annotation, source, steps } = this.plan;
    const { host } = this.ports.resources;
    // what was edited elsewhere while it was copied is kept
    const guest = await host.readGuest(this.plan.guest.id);
    requireShutOff(guest);
    requireSource(guest, this.plan);
    await host.annotate(guest, new Map([[disk, annotation]]), new Map([[disk, source.annotation]]));
    this.done(`disk ${disk} in the guest's configuration is the new volume`);
    if (steps.activate === undefined) return;
    try {
      await this.#performer.perform(steps.activate);
    } catch (thrown) {
      throw asLuksmithError(thrown).within(
        `disk ${disk} is converted; the guest's next start activates its key`,
      );
    }
  }

  /** @throws VOLUME_TOO_SMALL, before anything is written to a volume that is there */
  private async requireRoom(size: bigint): Promise<void> {
    const { volume } = this.plan.target;
    const type = volume.kind === "file" ? "regular file" : "block device";
    await using file = await VolumeFile.open(volume.path, "read", type);
    const room = BigInt(file.size - PAYLOAD_OFFSET);
    if (room < size) throw this.tooSmall(room, size);
  }

  private async long<T>(task: string, work: (percent: Percent) => Promise<T>): Promise<T> {
    using progress = this.ports.watcher.begin(task);
    try {
      return await work(progress.percent);
    } catch (thrown) {
      const error = asLuksmithError(thrown);
      if (error.code !== "TOOL_FAILED") throw error;
      throw this.failed(`${task} failed`, error.why ?? error.message);
    }
  }

  /** One that cannot be undone is found, and used, by the next try. */
  private async undone(undo: Undo | undefined): Promise<void> {
    await undo?.().catch((thrown: unknown) => {
      this.ports.resources.logger.error("could not undo a step", { error: asLuksmithError(thrown) });
    });
  }

  private owner(): Pick<MappingRequest, "guest" | "disk"> {
    const { guest, disk } = this.plan;
    return { guest: { id: guest.id, name: guest.name }, disk };
  }

  private done(what: string): void {
    this.ports.watcher.done(what);
  }

  private failed(what: string, why?: string): LuksmithError {
    const { guest, disk, source } = this.plan;
    return new LuksmithError("CONVERT_FAILED", {
      what: `cannot convert disk ${disk} of guest ${guest.name}: ${what}`,
      ...(why === undefined ? {} : { why }),
      hint: `put this right and run it again; the guest still has ${source.annotation.volume.path}, which was only read`,
    });
  }

  private different(): LuksmithError {
    const { target, copy, guest, disk } = this.plan;
    const path = volumeName(target.volume);
    if (copy === "again") return this.failed("the copy is not what was copied", `${path} reads otherwise`);
    return new LuksmithError("VOLUME_NOT_EMPTY", {
      what: `cannot convert disk ${disk} of guest ${guest.name} into ${path}: it holds other data`,
      why: "the disk was on it after an earlier conversion, was put back, and one of the volumes was written to since",
      hint: `if the guest's data are on the old volume, say a new name with --to; if on the new one: ${putForward(this.plan)}`,
    });
  }

  private tooSmall(room: bigint, size: bigint): LuksmithError {
    const { target, guest, disk } = this.plan;
    return new LuksmithError("VOLUME_TOO_SMALL", {
      what: `cannot convert disk ${disk} of guest ${guest.name} into ${volumeName(target.volume)}`,
      why: `it has room for ${formatBytes(room)}, and the disk has ${formatBytes(size)}`,
      hint: "enlarge it, or say a new name with --to",
    });
  }
}

/** How the disk gets the new volume without a copy; what the metadata say of its mapping counts no more then. */
function putForward({ guest, disk, target }: ConvertPlan): string {
  const { kind, path } = target.volume;
  const source = `<disk type='${kind}'> with <source ${kind === "block" ? "dev" : "file"}='${path}'/>`;
  return `virsh edit ${guestWord(guest)}, make ${disk} a ${source}, then: ${protectCommand(guest, [disk])}`;
}
