import type { CommandRunner } from "../../exec/command-runner.js";
import type { ConversionNote } from "../../generated/conversion-note.js";
import { type KeyUuid, parseKeyUuid } from "../../keystore/key-uuid.js";
import { type PathVolume, volumeName } from "../../storage/volume.js";
import type { DiskMapping } from "../../disk-info/disk-info.js";
import type { ConfiguredGuest } from "../../host/host-adapter.js";
import type { ConversionNotes } from "../conversion-notes.js";
import { isNotable, notedVolume, unmadeVolume } from "../note-converted.js";
import { notedOld } from "../old-content.js";
import { identityOf } from "../volume-identity.js";
import type { OnlinePlan } from "./plan-online.js";

/** What an earlier call has noted about a disk and its new volume. */
export interface EarlierNote {
  /** `made`: the volume that is there is the one that was made, or taken, then; `unmade`: nothing tells yet. */
  readonly target: "made" | "unmade";
  /** Of the old volume; absent for a plain one. */
  readonly oldKey?: KeyUuid;
}

/** @param live the disk that the running guest has: the old volume, or the new one by now */
export async function earlierNote(
  guest: ConfiguredGuest,
  { dev, volume: live }: DiskMapping,
  target: PathVolume,
  { notes, runner }: { readonly notes: ConversionNotes; readonly runner: CommandRunner },
): Promise<EarlierNote | undefined> {
  const now = volumeName(live);
  const note = notes
    .of(guest)
    .find(
      (one) => one.disk === dev && one.new.path === target.path && [one.old.path, target.path].includes(now),
    );
  if (note === undefined) return undefined;
  const oldKey = parseKeyUuid(note.old.key ?? "");
  const more = oldKey === undefined ? {} : { oldKey };
  const { identity } = note.new;
  if (identity === undefined) return { target: "unmade", ...more };
  return identity === (await identityOf(target, runner)) ? { target: "made", ...more } : undefined;
}

interface NotePorts {
  readonly runner: CommandRunner;
  readonly notes: ConversionNotes;
  /** When the conversion began. */
  readonly now: Date;
}

/** Notes a conversion, for whoever goes on after a kill, and for `luksmith purge`; an old volume that has no path is not noted. */
export class OnlineNotes {
  constructor(
    private readonly plan: OnlinePlan,
    private readonly ports: NotePorts,
  ) {}

  /** @param target whether the new volume is there: what has its name before is another one */
  async write(state: ConversionNote["state"], target: "made" | "unmade" = "made"): Promise<void> {
    const { runner } = this.ports;
    const { live } = this.plan.facts;
    if (live === undefined || !isNotable(live.volume)) return;
    const old = await notedVolume(live.volume, live.encryption_secret_uuid, runner);
    await this.#write(state, target, old);
  }

  /** When the guest has the new volume: nobody writes to the old one any more, and its bytes tell it. */
  async writeGiven(): Promise<void> {
    const { live } = this.plan.facts;
    if (live === undefined || !isNotable(live.volume) || live.encrypted) return;
    const source = { volume: live.volume, key: undefined, lv: undefined };
    await this.#write("verified", "made", await notedOld(source, "verified", this.ports.runner));
  }

  async #write(
    state: ConversionNote["state"],
    target: "made" | "unmade",
    old: ConversionNote["old"],
  ): Promise<void> {
    const { runner } = this.ports;
    const { guest, disk, mirror } = this.plan;
    const made = await notedVolume(mirror.volume, mirror.secretUuid, runner);
    this.ports.notes.write({
      version: 1,
      guest: { id: guest.id, name: guest.name },
      disk,
      old,
      new: target === "made" ? made : unmadeVolume(made),
      state,
      startedAt: this.ports.now.toISOString(),
    });
  }

  /** When what was made is taken away again. */
  async forget(): Promise<void> {
    const { guest, disk, facts, mirror } = this.plan;
    const old = facts.live && volumeName(facts.live.volume);
    const { notes } = this.ports;
    for (const note of notes.of(guest))
      if (note.disk === disk && note.old.path === old && note.new.path === mirror.volume.path)
        notes.forget(note);
    return Promise.resolve();
  }
}
