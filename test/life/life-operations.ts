import { copyFileSync, readdirSync, readFileSync } from "node:fs";
import { convertDisk } from "../../src/convert/convert-disk.js";
import { gatherConvertFacts } from "../../src/convert/gather-convert.js";
import { convertWith } from "../../src/convert/in-place/convert-in-place.js";
import { planConvert } from "../../src/convert/plan-convert.js";
import { purgeVolume } from "../../src/convert/purge-volume.js";
import { asLuksmithError, LuksmithError } from "../../src/error/luksmith-error.js";
import { restoreVolume } from "../../src/headers/restore-volume.js";
import { type KeyUuid, newKeyUuid } from "../../src/keystore/key-uuid.js";
import { execute } from "../../src/plan/execute.js";
import { gatherGrowFacts } from "../../src/plan/gather-grow.js";
import { KeySession } from "../../src/plan/key-session.js";
import { StepPerformer } from "../../src/plan/perform.js";
import { planGrow } from "../../src/plan/plan-grow.js";
import { planOf } from "../../src/plan/step.js";
import { reapFormerKeys } from "../../src/reap/former-keys.js";
import { recoveryOf } from "../../src/recovery/recovery-entry.js";
import { RecoveryKeyslots } from "../../src/recovery/recovery-keyslots.js";
import { newPassphraseFor } from "../../src/recovery/recovery-passphrases.js";
import { KeyUses } from "../../src/rotate/key-uses.js";
import { rotateGuest } from "../../src/rotate/rotate-guest.js";
import type { Secret } from "../../src/secret/secret.js";
import { separateVolume } from "../../src/separate/separate-volume.js";
import { RecordingLogger } from "../fake/recording-logger.js";
import { request } from "../plan/builders.js";
import { MIB, run, sha256 } from "../storage/workshop.js";
import { GUEST_ID } from "../fake/fake-xml-host.js";
import type { Life } from "./life.js";
import { GUEST, ifNoHeader, type LifePlace } from "./life-place.js";

/** What is done to the disk or its key; each by what its command does, under the command's own locks or none. */
export type Operation =
  | "encrypt"
  | "encrypt in place"
  | "decrypt"
  | "decrypt in place"
  | "rotate"
  | "rotate deep"
  | "reap former passphrases"
  | "grow"
  | "purge"
  | "back up the header"
  | "restore the header"
  | "add escrow"
  | "remove escrow"
  | "separate";

/** Those that make a new volume. */
export const CONVERTED: Partial<Record<Operation, "encrypted" | "plain">> = {
  encrypt: "encrypted",
  "rotate deep": "encrypted",
  decrypt: "plain",
};

/** The operations, as one process after another does them. */
export class LifeOperations implements Disposable {
  /** Recovery passphrases that must open. */
  readonly recoveries: { readonly uuid: KeyUuid; readonly keyslot: number; readonly secret: Secret }[] = [];
  /** Volumes that conversions are made into. */
  readonly #targets = new Map<Operation, string>();
  readonly #recipient: string;

  constructor(private readonly place: LifePlace) {
    run("age-keygen", ["-o", place.at("identity")]);
    this.#recipient = /public key: (age1\S+)/.exec(readFileSync(place.at("identity"), "utf8"))![1]!;
  }

  [Symbol.dispose](): void {
    for (const { secret } of this.recoveries) secret.dispose();
  }

  /** Whether the disk has the volume by now that a conversion has made. */
  isGiven(operation: Operation, path: string): boolean {
    return this.#targets.get(operation) === path;
  }

  /** @param how "damaged" where a header that is restored is to be lost first */
  async do(operation: Operation, since: "new" | "going on", life: Life, how?: "damaged"): Promise<void> {
    const isNewVolume = since === "new" && operation in CONVERTED;
    if (isNewVolume) this.#targets.set(operation, this.place.newVolume().path);
    const work: Record<Operation, () => Promise<void>> = {
      encrypt: () => this.#convert(operation, life),
      "rotate deep": () => this.#convert(operation, life),
      decrypt: () => this.#convert(operation, life),
      "encrypt in place": () => this.#convertInPlace("encrypted", life),
      "decrypt in place": () => this.#convertInPlace("plain", life),
      rotate: () => this.#rotate(life),
      "reap former passphrases": () => this.#reapFormer(life),
      grow: () => this.#grow(life),
      purge: () => this.#purge(life),
      "back up the header": () => this.#backUpHeader(life),
      "restore the header": () => this.#restoreHeader(how, life),
      "add escrow": () => this.#addEscrow(life),
      "remove escrow": () => this.#removeEscrow(life),
      separate: () => this.#separate(since, life),
    };
    await work[operation]();
  }

  /** Into another volume than before, as the hint says, where the disk was enlarged since. */
  async #convert(operation: Operation, life: Life): Promise<void> {
    try {
      await this.#convertInto(operation, life);
    } catch (thrown) {
      if (asLuksmithError(thrown).code !== "VOLUME_TOO_SMALL") throw thrown;
      this.#targets.set(operation, this.place.newVolume().path);
      await this.#convertInto(operation, life);
    }
  }

  async #convertInto(operation: Operation, life: Life): Promise<void> {
    const { place } = this;
    const path = this.#targets.get(operation) ?? "";
    const { guest, disk } = await place.guestAndDisk();
    const { runner, locks, guestLocks, clock } = place.ports(life);
    const { notes } = place;
    const resources = place.resources(life);
    const target = { volume: { ...disk.volume, path }, isNamed: true };
    const asked = CONVERTED[operation] === "plain" ? undefined : request("vda");
    using session = new KeySession();
    const question = { guest, disk, request: asked, target, choice: "native" as const };
    const facts = await gatherConvertFacts(question, { ...resources, runner, notes }, session);
    const plan = planConvert(facts, { now: place.now(), newUuid: newKeyUuid });
    await convertDisk(plan, {
      ...{ resources, session, runner, locks, guestLocks, notes, clock, watcher: WATCHER },
    });
  }

  async #convertInPlace(to: "encrypted" | "plain", life: Life): Promise<void> {
    const { guest, disk } = await this.place.guestAndDisk();
    const goal = to === "plain" ? { to } : ({ to, request: request("vda"), engine: "auto" } as const);
    const task = { guest, disk, goal, target: undefined, manner: "apply", watcher: WATCHER } as const;
    await life.withVolumeFiles(() => convertWith(this.place.ports(life), task));
  }

  async #rotate(life: Life): Promise<void> {
    const { keyLocks, ...ports } = this.place.ports(life);
    const [result] = await rotateGuest(
      GUEST_ID,
      { manner: "apply" },
      {
        ...{ ...ports, locks: keyLocks, logger: new RecordingLogger() },
        preparation: { reconnect: () => Promise.resolve(planOf()) },
        uses: () => KeyUses.of(this.place.host),
      },
    );
    if (result?.result.kind === "failed") throw result.result.error;
  }

  /** At once, which is what settings without a time for them mean. */
  async #reapFormer(life: Life): Promise<void> {
    const { guestLocks: locks, ...ports } = this.place.ports(life);
    const reaped = await reapFormerKeys("apply", {
      ...{ ...ports, locks, keepFormer: 0, now: this.place.now() },
      uses: () => KeyUses.of(this.place.host),
    });
    const left = reaped.find(({ outcome }) => outcome === "left");
    if (left !== undefined && life.wasCut) throw new Error(left.why);
  }

  async #grow(life: Life): Promise<void> {
    const { guest, disk } = await this.place.guestAndDisk();
    const resources = this.place.resources(life);
    using session = new KeySession();
    const facts = await gatherGrowFacts(guest, disk, "stopped", resources, session);
    const plan = planGrow(guest, facts, { kind: "more", bytes: BigInt(MIB) });
    await execute(plan, new StepPerformer(guest, resources, session), new RecordingLogger());
  }

  async #purge(life: Life): Promise<void> {
    const { notes } = this.place;
    for (const note of notes.of({ id: GUEST_ID })) {
      if (note.state !== "verified") continue;
      const ports = { ...this.place.ports(life), notes, watcher: WATCHER };
      await purgeVolume(note, "remove", ports).catch(ifBusy);
    }
  }

  async #backUpHeader(life: Life): Promise<void> {
    const { uuid, volume } = await this.place.encryptedDisk();
    const header = await this.place.header();
    await life.vault(this.place.vault).keep({ uuid, volume: volume.path, header, reason: "asked" });
  }

  /** A copy is written back: to a volume that has lost its header, or to one where something else is unfinished. */
  async #restoreHeader(how: "damaged" | undefined, life: Life): Promise<void> {
    const { place } = this;
    const { uuid, volume } = await place.encryptedDisk();
    const header = await place.backend().readHeader(volume).catch(ifNoHeader);
    const [copy] = place.vault.backups(uuid);
    if (copy === undefined) throw new Error("there is no copy of the header");
    if (how === "damaged") {
      const damage = [{ offset: 0, bytes: Buffer.alloc(4096) }];
      const length = header?.length ?? copy.length;
      await place.backend().changeHeader(volume, length, () => Promise.resolve(damage));
    }
    await restoreVolume({ volume, uuid }, copy, place.ports(life));
  }

  async #addEscrow(life: Life): Promise<void> {
    const { place } = this;
    const { uuid } = await place.encryptedDisk();
    if (place.keyslots.used(await place.header()).length > 5) return;
    const made = await newPassphraseFor([this.#recipient]);
    try {
      const { keyslot } = await this.#recovery(life).add(await this.#recoverable(), made);
      this.recoveries.push({ uuid, keyslot, secret: made.passphrase });
    } catch (thrown) {
      made.passphrase.dispose();
      throw thrown;
    }
  }

  async #removeEscrow(life: Life): Promise<void> {
    const { uuid } = await this.place.encryptedDisk();
    const record = await this.place.record(uuid);
    const keyslot = record && recoveryOf(record)[0]?.keyslot;
    if (keyslot === undefined) return;
    const at = this.recoveries.findIndex((one) => one.uuid === uuid && one.keyslot === keyslot);
    const gone = at < 0 ? [] : this.recoveries.splice(at, 1);
    for (const { secret } of gone) secret.dispose();
    await this.#recovery(life).remove(await this.#recoverable(), keyslot);
  }

  #recovery(life: Life): RecoveryKeyslots {
    return new RecoveryKeyslots({ ...this.place.ports(life), files: life.files(this.place.files) });
  }

  async #recoverable() {
    return { guest: GUEST, disk: "vda", ...(await this.place.encryptedDisk()) };
  }

  /** The guest's disk becomes a copy of its volume, and the copy gets a key of its own; the original stays as it is. */
  async #separate(since: "new" | "going on", life: Life): Promise<void> {
    const { place } = this;
    if (since === "new") {
      const { volume } = await place.disk();
      const copy = place.newVolume();
      copyFileSync(volume.path, copy.path);
      place.host.xml = place.host.xml.replaceAll(volume.path, copy.path);
    }
    const { guest, disk } = await place.guestAndDisk();
    const originals = () => readdirSync(place.at("vm")).filter((name) => !disk.volume.path.endsWith(name));
    const before = originals().map((name) => sha256(place.at(`vm/${name}`)));
    await separateVolume({ guest, disk }, place.ports(life));
    const after = originals().map((name) => sha256(place.at(`vm/${name}`)));
    if (before.join() !== after.join()) throw new Error("separate has changed the original");
  }
}

const WATCHER = {
  done: () => undefined,
  begin: () => ({ percent: () => undefined, [Symbol.dispose]: () => undefined }),
};

function ifBusy(thrown: unknown): void {
  if (!(thrown instanceof LuksmithError) || thrown.code !== "VOLUME_BUSY") throw thrown;
}
