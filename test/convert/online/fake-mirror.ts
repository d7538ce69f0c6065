import { LuksmithError } from "../../../src/error/luksmith-error.js";
import type { DiskMirror, MirrorState, MirrorTarget } from "../../../src/host/disk-mirror.js";
import { volumeName } from "../../../src/storage/volume.js";
import type { ConvertWorld } from "../convert-world.js";

/** Where a copy ends. */
type Job = { readonly target: MirrorTarget; readonly kind: "copying" | "ready" } | undefined;

/** libvirt's block copies of a guest whose configuration is real; no byte is copied. */
export class FakeMirror implements DiskMirror {
  job: Job;
  /** What happens when the copy is to begin. */
  starting: () => Promise<void> = () => Promise.resolve();
  /** What happens when the guest is to be given its new volume. */
  completing: (target: MirrorTarget) => Promise<void> = (target) => this.give(target);
  /** What happens right before a copy is ended. */
  cancelling: (target: MirrorTarget) => Promise<void> = () => Promise.resolve();

  constructor(private readonly world: ConvertWorld) {}

  async look(): Promise<MirrorState> {
    const { host } = this.world;
    if (!host.running) return { kind: "stopped" };
    const live = await host.readRunningGuest();
    if (this.job === undefined) return { kind: "none", live };
    const { target, kind } = this.job;
    const { secretUuid } = target;
    return {
      kind,
      live,
      to: volumeName(target.volume),
      done: 1n,
      total: 1n,
      ...(secretUuid && { secretUuid }),
    };
  }

  async start(_: unknown, __: unknown, target: MirrorTarget): Promise<void> {
    await this.starting();
    this.job = { target, kind: "ready" };
  }

  limit(): Promise<void> {
    return Promise.resolve();
  }

  async cancel(): Promise<void> {
    if (this.job !== undefined) await this.cancelling(this.job.target);
    this.job = undefined;
  }

  complete(_: unknown, __: unknown, target: MirrorTarget): Promise<void> {
    return this.completing(target);
  }

  wake(): Promise<"not needed"> {
    return Promise.resolve("not needed");
  }

  pausedGuests() {
    return Promise.resolve([]);
  }

  /** As libvirt does it: in the running guest, and in its configuration. */
  async give({ volume, secretUuid }: MirrorTarget): Promise<void> {
    const { host } = this.world;
    const guest = await host.readGuest();
    if (secretUuid === undefined) host.xml = host.xml.replace(await this.world.path(), volume.path);
    else await host.annotate(guest, new Map([["vda", { format: "luks", secretUuid, volume }]]));
    this.job = undefined;
  }
}

export function unanswered(): LuksmithError {
  return new LuksmithError("CONVERT_FAILED", { what: "libvirt did not answer in time" });
}

export function stopped(): LuksmithError {
  return new LuksmithError("GUEST_NOT_RUNNING", { what: "the guest has stopped" });
}
