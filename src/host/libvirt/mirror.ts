import { asLuksmithError, LuksmithError } from "../../error/luksmith-error.js";
import { printable } from "../../error/printable.js";
import { volumeName } from "../../storage/volume.js";
import type { VolumeLocks } from "../../storage/volume-lock.js";
import type { DiskMirror, MirrorState, MirrorTarget } from "../disk-mirror.js";
import type { Guest } from "../host-adapter.js";
import { isMarked, type LiveDomain, mirrorState, PAUSED_NAMESPACE } from "./mirror-state.js";
import { mirrorXml } from "./mirror-xml.js";
import { textFile } from "./text-file.js";
import type { Virsh, VirshCommand } from "./virsh.js";

type NamedGuest = Pick<Guest, "id" | "name">;

/** Milliseconds: QEMU opens a volume, or waits until all that the guest has under way is done. */
const PATIENCE = 120_000;

/** In the guest's live metadata: it ends with the guest, and outlives libvirtd and us. libvirt adds the namespace. */
const MARK = "<paused/>";

/** libvirt's blockcopy to a volume that is there. Whoever calls holds the guest's lock. */
export class LibvirtMirror implements DiskMirror {
  constructor(
    private readonly virsh: Virsh,
    private readonly locks: VolumeLocks,
  ) {}

  async look(guest: NamedGuest, disk: string): Promise<MirrorState> {
    const found = await this.#live(guest, disk);
    return found === undefined ? { kind: "stopped" } : mirrorState(found, disk);
  }

  /** For a persistent domain libvirt wants to hear that the copy need not outlive the guest. */
  async start(guest: NamedGuest, disk: string, target: MirrorTarget, rate?: bigint): Promise<void> {
    using file = textFile(mirrorXml(target));
    const where: VirshCommand = ["blockcopy", "--domain", guest.id, "--path", { text: disk }, "--xml", file];
    const how = ["--reuse-external", "--transient-job", "--synchronous-writes"];
    const answer = await this.#patient.run([...where, ...how, ...bandwidth(rate)]);
    if (answer.errors.length > 0) throw failed(guest, disk, "libvirt does not begin to copy", answer.errors);
  }

  async limit(guest: NamedGuest, disk: string, rate = 0n): Promise<void> {
    await this.virsh.run([...jobOf(guest, disk), ...bandwidth(rate)]);
  }

  async cancel(guest: NamedGuest, disk: string): Promise<void> {
    const { errors } = await this.#patient.run([...jobOf(guest, disk), "--abort"]);
    if (errors.length === 0) return;
    // what had ended by itself, or with the guest, cannot be ended
    const { kind } = await this.look(guest, disk);
    if (kind === "none" || kind === "stopped") return;
    throw failed(guest, disk, "libvirt does not end the copy", errors);
  }

  async complete(guest: NamedGuest, disk: string, target: MirrorTarget): Promise<void> {
    // two disks of one guest: one would let it run again while the other one relies on its pause
    await this.#holdingPause(guest, (held) => held.#complete(guest, disk, target));
  }

  async wake(guest: NamedGuest): Promise<"woken" | "not needed"> {
    const found = await this.#live(guest);
    if (found === undefined || !isMarked(found)) return "not needed";
    return await this.#holdingPause(guest, (held) => held.#wake(guest));
  }

  async pausedGuests(): Promise<NamedGuest[]> {
    const { stdout, errors } = await this.virsh.run(["list", "--state-paused", "--uuid", "--name"]);
    if (errors.length > 0) throw unlisted(errors);
    const paused = stdout.split("\n").flatMap((line): NamedGuest[] => {
      const [, id, name] = /^([0-9a-f-]{36}) +(.*?) *$/.exec(line) ?? [];
      return id === undefined || name === undefined ? [] : [{ id, name }];
    });
    const marked: NamedGuest[] = [];
    for (const guest of paused) {
      // one that is undefined meanwhile is paused no more
      const found = await this.#live(guest).catch(unlessGone);
      if (found?.state === "paused" && isMarked(found)) marked.push(guest);
    }
    return marked;
  }

  /** virsh has the lock as well: what it was told to do under it, it does to its end, even if this process is killed. */
  async #holdingPause<T>({ id }: NamedGuest, work: (held: LibvirtMirror) => Promise<T>): Promise<T> {
    return await this.locks.hold(`pause of guest ${id}`, (lock) =>
      work(new LibvirtMirror(this.virsh.keeping(lock), this.locks)),
    );
  }

  async #wake(guest: NamedGuest): Promise<"woken" | "not needed"> {
    const found = await this.#live(guest);
    if (found === undefined || !isMarked(found)) return "not needed";
    await this.virsh.run(...wakingOf(guest));
    return "woken";
  }

  async #complete(guest: NamedGuest, disk: string, target: MirrorTarget): Promise<void> {
    const found = await this.#live(guest, disk);
    if (found === undefined) throw notRunning(guest, disk);
    const state = mirrorState(found, disk);
    if (state.kind === "none" && hasVolume(state.live, disk, target)) {
      await this.#wake(guest);
      return;
    }
    if (state.kind !== "ready" || state.to !== volumeName(target.volume))
      throw failed(guest, disk, "its copy has not come to its end", []);
    const isOurs = found.state === "running" || isMarked(found);
    if (found.state === "running") await this.#pause(guest, disk);
    // nobody's pause is ended but ours; what virsh was told to do it does, even if this process is killed
    const { errors } = await this.#patient.run(
      [...jobOf(guest, disk), "--pivot"],
      ...(isOurs ? wakingOf(guest) : []),
    );
    const after = await this.#live(guest, disk);
    if (after === undefined) throw notRunning(guest, disk, "after it was given");
    if (isOurs && after.state === "paused" && isMarked(after)) await this.#wake(guest);
    const now = mirrorState(after, disk);
    if (now.kind === "none" && hasVolume(now.live, disk, target)) return;
    throw failed(guest, disk, "libvirt does not give it its new volume", errors);
  }

  /** The mark first: a pause without it would be taken for somebody else's. */
  async #pause(guest: NamedGuest, disk: string): Promise<void> {
    const mark: VirshCommand = [...metadataOf(guest), "--key", "luksmith", "--set", { text: MARK }];
    const { errors } = await this.#patient.run(mark, ["suspend", "--domain", guest.id]);
    const found = await this.#live(guest, disk);
    if (found === undefined) throw notRunning(guest, disk);
    if (errors.length === 0 && found.state === "paused" && isMarked(found)) return;
    await this.virsh.run(...wakingOf(guest));
    throw failed(guest, disk, "libvirt does not pause the guest", errors);
  }

  /** Undefined for a guest that does not run. */
  async #live({ id, name }: NamedGuest, disk?: string): Promise<LiveDomain | undefined> {
    const job: VirshCommand[] = disk === undefined ? [] : [[...jobOf({ id }, disk), "--info", "--raw"]];
    const { stdout, errors } = await this.virsh.run(
      ["list", "--uuid"],
      ["domstate", "--domain", id],
      ["dumpxml", "--security-info", "--domain", id],
      ...job,
    );
    const [start, end] = [stdout.indexOf("<domain"), stdout.lastIndexOf("</domain>")];
    if (start >= 0 && !stdout.slice(0, start).includes(id)) return undefined;
    if (start < 0 || errors.length > 0) {
      // it may have stopped between two of the questions
      const now = await this.virsh.run(["list", "--uuid"]);
      if (start >= 0 && now.errors.length === 0 && !now.stdout.includes(id)) return undefined;
      throw new LuksmithError("GUEST_NOT_FOUND", {
        what: `cannot see what disk ${printable(disk ?? "")} of guest "${printable(name)}" does`,
        why: errors.join(": "),
        hint: "see: virsh list --all",
      });
    }
    const state = stdout.slice(0, start).trim().split("\n").at(-1)?.trim() ?? "";
    return { state, xml: stdout.slice(start, end + "</domain>".length), job: stdout.slice(end) };
  }

  get #patient(): Virsh {
    return this.virsh.waiting(PATIENCE);
  }
}

function jobOf({ id }: Pick<Guest, "id">, disk: string): VirshCommand {
  return ["blockjob", "--domain", id, "--path", { text: disk }];
}

function bandwidth(rate: bigint | undefined): VirshCommand {
  return rate === undefined ? [] : ["--bytes", "--bandwidth", String(rate)];
}

function metadataOf({ id }: NamedGuest): VirshCommand {
  return ["metadata", "--domain", id, "--uri", { text: PAUSED_NAMESPACE }, "--live"];
}

function wakingOf(guest: NamedGuest): VirshCommand[] {
  return [
    ["resume", "--domain", guest.id],
    [...metadataOf(guest), "--remove"],
  ];
}

function hasVolume(live: Guest, dev: string, { volume, secretUuid }: MirrorTarget): boolean {
  const disk = live.disks.mapping[dev];
  if (disk === undefined) return false;
  return volumeName(disk.volume) === volumeName(volume) && disk.encryption_secret_uuid === secretUuid;
}

function notRunning({ name }: NamedGuest, disk: string, when?: "after it was given"): LuksmithError {
  return new LuksmithError("GUEST_NOT_RUNNING", {
    what: `cannot give disk ${printable(disk)} of guest ${printable(name)} its new volume: the guest has stopped`,
    hint:
      when === undefined
        ? "it has its old volume, which holds all its data; run the command again"
        : "its configuration says which volume it has, the new one or the old one: luksmith status; keep both until then",
  });
}

function unlisted(errors: readonly string[]): LuksmithError {
  return new LuksmithError("HOST_UNAVAILABLE", {
    what: "libvirt does not say which guests are paused",
    why: errors.join(": "),
  });
}

function unlessGone(thrown: unknown): undefined {
  if (asLuksmithError(thrown).code !== "GUEST_NOT_FOUND") throw thrown;
}

function failed({ name }: NamedGuest, disk: string, what: string, errors: readonly string[]): LuksmithError {
  return new LuksmithError("CONVERT_FAILED", {
    what: `cannot convert disk ${printable(disk)} of running guest ${printable(name)}: ${what}`,
    ...(errors.length === 0 ? {} : { why: errors.join(": ") }),
    hint: "the guest goes on with its old volume; put this right and run the command again",
  });
}
