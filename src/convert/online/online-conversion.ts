import { asLuksmithError, LuksmithError } from "../../error/luksmith-error.js";
import type { CommandRunner } from "../../exec/command-runner.js";
import type { DiskMirror } from "../../host/disk-mirror.js";
import { formatBytes } from "../../plan/bytes.js";
import type { Undo } from "../../plan/execute.js";
import type { KeySession } from "../../plan/key-session.js";
import { type Resources, StepPerformer } from "../../plan/perform.js";
import { volumeName } from "../../storage/volume.js";
import type { Watcher } from "../watcher.js";
import type { ConversionNotes } from "../conversion-notes.js";
import { Interruption, patiently, watchMirror } from "./mirror-watch.js";
import { finishOnline, recordOnline } from "./online-finish.js";
import { OnlineNotes } from "./online-notes.js";
import { cannotConvertOnline, guestNotRunning } from "./online-refusals.js";
import { allocateTarget, isInPlace, requireRoom, requireTarget, undone } from "./online-target.js";
import type { OnlinePlan } from "./plan-online.js";
import { type WhichVolume, whichVolume } from "./which-volume.js";

export interface OnlinePorts {
  readonly mirror: DiskMirror;
  readonly resources: Resources;
  readonly session: KeySession;
  readonly runner: CommandRunner;
  readonly notes: ConversionNotes;
  readonly watcher: Watcher;
  readonly now: Date;
  readonly rate?: bigint;
}

/**
 * Until the guest has its new volume, a failure takes away what was made, as far as that is not needed to go on; the
 * guest never notices. A kill leaves the copy to the guest's QEMU, where the next call finds it.
 */
export class OnlineConversion {
  readonly #performer: StepPerformer;
  readonly #notes: OnlineNotes;
  /** Whether QEMU may copy to the new volume, or may have given it to the guest. */
  #isBegun = false;

  constructor(
    private readonly plan: OnlinePlan,
    private readonly ports: OnlinePorts,
  ) {
    this.#performer = new StepPerformer(plan.guest, ports.resources, ports.session);
    this.#notes = new OnlineNotes(plan, ports);
  }

  async run(): Promise<void> {
    this.ports.resources.audit.requireWritable();
    if (this.plan.from !== "given") await this.#copy();
    await finishOnline(this.plan, this.ports);
  }

  async #copy(): Promise<void> {
    const { plan, ports } = this;
    using interruption = new Interruption();
    const undos: Undo[] = [];
    try {
      if (plan.from === "prepare") await this.#prepare(undos);
      else await this.#provide(undos);
      await this.#begin();
      await this.#watch(interruption);
      if (!(await isInPlace(plan))) throw this.#vanished();
      // before the guest has it: a kill right after that must not hide which volume nobody needs any more
      undos.push(() => this.#notes.write("copying"));
      await this.#notes.write("verified");
      await recordOnline(plan, ports.resources.audit, "begins");
      await patiently(() => ports.mirror.complete(plan.guest, plan.disk, plan.mirror));
    } catch (thrown) {
      // the guest, or its QEMU, may have ended right after it got the new volume
      if ((await this.#which()) !== "new") {
        await this.#undo(undos, thrown);
        throw thrown;
      }
      const error = asLuksmithError(thrown);
      ports.resources.logger.warn("a disk got its new volume all the same", { error });
    }
    await this.#notes.writeGiven().catch((thrown: unknown) => {
      const error = asLuksmithError(thrown);
      ports.resources.logger.warn("what the old volume holds is not noted", { error });
    });
    this.#done(
      `disk ${plan.disk} of the guest, and in its configuration, is ${volumeName(plan.mirror.volume)}`,
    );
  }

  /** A key, a volume and a header; what an earlier try has made is taken as it is. */
  async #prepare(undos: Undo[]): Promise<void> {
    const { plan, ports } = this;
    const { store, format } = plan.steps;
    await requireRoom(plan);
    await this.#notes.write("copying", plan.allocate ? "unmade" : "made");
    if (plan.allocate) undos.push(() => this.#notes.forget());
    if (store !== undefined) await this.#keep(undos, this.#performer.perform(store));
    if (plan.allocate) {
      await this.#keep(undos, allocateTarget(plan, ports.runner));
      this.#done(`made ${volumeName(plan.mirror.volume)}, for a disk of ${formatBytes(plan.facts.size)}`);
    }
    if (format !== undefined) {
      await this.#performer.perform(format);
      this.#done(`formatted ${volumeName(plan.mirror.volume)} under key ${plan.record?.uuid ?? ""}`);
    }
    await requireTarget(plan);
    await this.#notes.write("copying");
    await this.#provide(undos);
  }

  async #provide(undos: Undo[]): Promise<void> {
    const { provide } = this.plan.steps;
    if (provide !== undefined) await this.#keep(undos, this.#performer.perform(provide));
  }

  async #begin(): Promise<void> {
    const { mirror, rate } = this.ports;
    const { guest, disk, from, mirror: target } = this.plan;
    // what is not answered may have begun all the same
    this.#isBegun = true;
    if (from === "copy") {
      this.#done("found the copy of an earlier call, and go on with it");
      await mirror.limit(guest, disk, rate);
      return;
    }
    await mirror.start(guest, disk, target, rate);
  }

  /** Nobody else's copy or commit of the disk. */
  async #cancel(): Promise<void> {
    const { guest, disk, mirror: target } = this.plan;
    await patiently(async () => {
      const state = await this.ports.mirror.look(guest, disk);
      if ("to" in state && state.to === volumeName(target.volume))
        await this.ports.mirror.cancel(guest, disk);
    });
  }

  async #watch(interruption: Interruption): Promise<void> {
    const { plan, ports } = this;
    const { guest, disk } = plan;
    using progress = ports.watcher.begin("copying", plan.facts.size);
    const { percent } = progress;
    const state = await watchMirror(ports.mirror, { guest, disk, percent, interruption });
    if (state.kind === "ready") {
      if (interruption.signal !== undefined) throw this.#interrupted(interruption.signal);
      this.#done(`copied ${formatBytes(plan.facts.size)}; what the guest writes is on both volumes now`);
      return;
    }
    if (interruption.signal !== undefined) throw this.#interrupted(interruption.signal);
    if (state.kind === "stopped") throw guestNotRunning(guest, disk);
    // somebody else has given it to the guest: there is nothing left to be completed
    if ((await this.#which()) !== "new") throw this.#ended();
  }

  #which(): Promise<WhichVolume> {
    const { mirror, resources } = this.ports;
    return whichVolume(this.plan, { mirror, host: resources.host });
  }

  async #keep(undos: Undo[], step: Promise<Undo | undefined>): Promise<void> {
    const undo = await step;
    if (undo !== undefined) undos.push(undo);
  }

  /** In reverse. While the host manager is away, its QEMU may still copy: nothing of it is taken away then. */
  async #undo(undos: readonly Undo[], thrown: unknown): Promise<void> {
    if (thrown instanceof LuksmithError && thrown.code === "HOST_UNAVAILABLE") return;
    if (this.#isBegun && !(await this.#isTakenBack())) return;
    for (const undo of undos.toReversed()) {
      // what is needed for what is left is not taken away: the next call would go on with it
      if ((await this.#undone(undo)) === "failed") return;
    }
  }

  /** Whether no copy goes on, and the guest has its old volume now, and for its next start: proven, not supposed. */
  async #isTakenBack(): Promise<boolean> {
    if ((await this.#undone(() => this.#cancel())) === "failed") return false;
    return (await this.#which()) === "old";
  }

  async #undone(undo: Undo): Promise<"undone" | "failed"> {
    return await undone(undo, (what, fields) => {
      this.ports.resources.logger.error(what, fields);
    });
  }

  #done(what: string): void {
    this.ports.watcher.done(what);
  }

  #interrupted(signal: string): LuksmithError {
    return this.#failed("it was interrupted", `by ${signal}`);
  }

  #vanished(): LuksmithError {
    const path = volumeName(this.plan.mirror.volume);
    return this.#failed("its new volume is gone", `${path} is not the volume any more that was copied to`);
  }

  #ended(): LuksmithError {
    const { guest } = this.plan;
    return this.#failed(
      "its QEMU has ended the copy",
      `the new volume cannot be written to, or it is full; see /var/log/libvirt/qemu/${asFileName(guest.name)}.log`,
    );
  }

  #failed(what: string, why: string): LuksmithError {
    const { guest, disk } = this.plan;
    return new LuksmithError("CONVERT_FAILED", {
      what: `${cannotConvertOnline(guest, disk)}: ${what}`,
      why,
      hint: "the guest goes on with its old volume, which holds all its data; run the command again",
    });
  }
}

function asFileName(name: string): string {
  return /^[\w.-]+$/.test(name) ? name : "GUEST";
}
