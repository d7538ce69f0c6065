import { ConversionNotes } from "../convert/conversion-notes.js";
import type { ErrorCode } from "../error/catalogue.js";
import { asLuksmithError, LuksmithError } from "../error/luksmith-error.js";
import { printable } from "../error/printable.js";
import { clearCopies } from "../keystore/cache/inventory.js";
import type { Container } from "../di.js";
import type { ConfiguredGuest } from "../host/host-adapter.js";
import { volumeName } from "../storage/volume.js";
import {
  AUDIT,
  CLOCK,
  COMMAND_RUNNER,
  GUEST_LOCKS,
  HEADER_VAULT,
  HOST,
  KEY_LOCKS,
  KEYRING,
  MAPPINGS,
  SETTINGS,
  STORAGE,
} from "../tokens.js";
import { recordFailure } from "../audit/recorded.js";
import { parseKeyUuid } from "../keystore/key-uuid.js";
import { requirePerson, ShredRequests } from "./approval.js";
import { isBegunOn, isGone } from "./begun.js";
import { requireReady } from "./destroy-header.js";
import { nameOf, refuseKeyUsed, refuseUsed } from "./refuse-used.js";
import { refuseSharedVolumeKeys } from "./shared-volume-key.js";
import { look, shred, type ShredResources } from "./shred-disk.js";
import {
  type Findings,
  isBegun,
  type Person,
  type ShredNote,
  ShredNotes,
  SHRED_DIRECTORY,
} from "./shred-notes.js";
import { recordFor, type RecordPlaces } from "./shred-records.js";
import { laterOn, targetAt, targetIn, targetsOf, type ShredTarget, volumeCalled } from "./shred-target.js";

/** What a volume is whose header was destroyed. */
const GONE: readonly ErrorCode[] = ["LUKS_UUID_MISMATCH", "LUKS_HEADER_INVALID", "VOLUME_NOT_FORMATTED"];

const IN_PLACE = "/var/lib/luksmith/in-place";

/** What is to be destroyed: disks of a guest, or a volume that no guest of this host has. */
export type Wish =
  | { readonly kind: "guest"; readonly guest: string; readonly disks: readonly string[] }
  | { readonly kind: "volume"; readonly volume: string };

/** What was found, and may be destroyed; a note where an earlier call has begun it. */
export interface Candidate {
  readonly target: ShredTarget;
  readonly findings: Findings | ShredNote;
}

export interface ShredPlaces {
  readonly directory?: string;
  readonly signingKey?: string;
  /** Directory of the notes about conversions. */
  readonly conversions?: string;
  /** Directory of the notes about conversions in place. */
  readonly inPlace?: string;
  readonly clearCopies?: ShredResources["clearCopies"];
}

/** Who asks, which nothing but its caller can tell. */
export interface Asking {
  readonly uid: number | undefined;
  readonly snapshots: "gone" | "unknown";
  /** Whether other hosts use a block device that they reach. */
  readonly otherHosts: "none" | "unknown";
  /** Whether other headers with the same volume key may stay. */
  readonly sharedVolumeKey: "kept" | "refused";
}

/** One destruction from the look to the record; the container's parts are real or a test's. */
export class Shredder {
  readonly #container: Container;
  readonly #resources: ShredResources;
  readonly #requests: ShredRequests;
  readonly #conversions: ConversionNotes;
  readonly #places: RecordPlaces;

  constructor(container: Container, places: ShredPlaces = {}) {
    this.#container = container;
    const { directory = SHRED_DIRECTORY, signingKey } = places;
    this.#conversions = new ConversionNotes(places.conversions);
    this.#places = { directory, ...(signingKey && { signingKey }) };
    this.#requests = new ShredRequests(directory);
    this.#resources = {
      storage: container.resolve(STORAGE),
      keyring: container.resolve(KEYRING),
      host: container.resolve(HOST),
      headers: container.resolve(HEADER_VAULT),
      audit: container.resolve(AUDIT),
      clock: container.resolve(CLOCK),
      notes: new ShredNotes(directory),
      escrow: container.resolve(SETTINGS).recovery.directory,
      inPlace: places.inPlace ?? IN_PLACE,
      clearCopies: places.clearCopies ?? ((uuids) => void clearCopies({ uuids, manner: "apply" })),
      ...(signingKey && { signingKey }),
    };
  }

  /** The word that whoever destroys must type: the guest's name, or the volume's. */
  async wordFor(wish: Wish): Promise<string> {
    return wish.kind === "volume" ? wish.volume : (await this.#guest(wish.guest)).name;
  }

  /** All that would be destroyed; changes nothing. @throws SHRED_REFUSED and what `look` and `targetsOf` throw */
  async candidates(wish: Wish, asking: Asking): Promise<Candidate[]> {
    const guest = wish.kind === "guest" ? await this.#guest(wish.guest) : undefined;
    const targets = await this.#targets(wish, guest);
    const found: Candidate[] = [];
    const records: string[] = [];
    for (const target of targets) {
      await this.#refuseUsed(target, guest, asking);
      try {
        found.push(await this.#look(target));
      } catch (thrown) {
        const record = this.#recordOfEarlier(target, thrown);
        if (record === undefined) throw thrown;
        records.push(record);
      }
    }
    if (asking.sharedVolumeKey === "refused") await this.#refuseShared(found);
    if (found.length > 0) return found;
    throw new LuksmithError("SHRED_REFUSED", {
      what: `cannot shred ${targets.map(nameOf).join(", ")}`,
      why: "that was done before",
      hint: `see: luksmith shred verify ${records.at(-1) ?? ""}`,
    });
  }

  /** For another person to approve. @throws SHRED_NOT_APPROVED where nobody has logged in */
  async request(wish: Wish, asking: Asking): Promise<readonly Candidate[]> {
    const uid = requirePerson(asking.uid);
    const found = await this.candidates(wish, asking);
    const fresh = freshIn(found);
    if (fresh.length === 0) {
      throw new LuksmithError("SHRED_REFUSED", {
        what: "there is nothing to request",
        why: "its destruction has begun, and nobody's word is needed to end it",
        hint: "end it: luksmith shred",
      });
    }
    this.#requests.make(fresh, uid, this.#resources.clock.now());
    return found;
  }

  /**
   * Who wants what was found destroyed: as many persons as the settings say. Of what was destroyed, be it in part, the
   * rest needs nobody's word.
   * @throws SHRED_NOT_APPROVED
   */
  approve(found: readonly Candidate[], asking: Asking): readonly Person[] {
    const { persons } = this.#container.resolve(SETTINGS).shred;
    const now = this.#resources.clock.now();
    const fresh = freshIn(found);
    if (persons === 1 || fresh.length === 0)
      return asking.uid === undefined ? [] : [{ uid: asking.uid, role: "shredded", at: now.toISOString() }];
    return this.#requests.approve(fresh, requirePerson(asking.uid), now, (key, since) =>
      this.#isDestroyed(key, since, found),
    );
  }

  /**
   * Looks again, and destroys alone with the guest and the keys. Starts of the guest wait while that is done, and not
   * while we wait for somebody who has a key: then they find no LUKS header.
   * @returns paths of the signed records
   * @throws SHRED_REFUSED also if a start of the guest began since it was seen shut off
   */
  async shred(wish: Wish, asking: Asking): Promise<string[]> {
    const locks = this.#container.resolve(GUEST_LOCKS);
    if (wish.kind === "volume") {
      const id = `volume ${wish.volume}`;
      return await locks.hold({ id }, async () => {
        const found = await this.candidates(wish, asking);
        return await this.#holdKeys(found, () => this.#destroyAgain(found, asking));
      });
    }
    const guest = await this.#guest(wish.guest);
    const since = await locks.watch(guest);
    const found = await this.candidates(wish, asking);
    // nobody asks about the guest from here on: libvirtd gives no answer while a start of it waits for us
    const destroy = () => locks.reapHeld(guest, since, () => this.#destroyAgain(found, asking));
    const records = await locks.hold(guest, () => this.#holdKeys(found, destroy));
    if (records !== undefined) return records;
    throw new LuksmithError("SHRED_REFUSED", {
      what: `cannot shred disks of guest ${printable(guest.name)}`,
      why: "it was started meanwhile",
      hint: "shut it off first",
    });
  }

  async #holdKeys<T>(found: readonly Candidate[], destroy: () => Promise<T>): Promise<T> {
    const locks = this.#container.resolve(KEY_LOCKS);
    const keys = [...new Set(found.map(({ target }) => target.key))].sort();
    // always in the same order: of two calls, one waits
    return await keys.reduceRight((work, key) => () => locks.hold(key, work), destroy)();
  }

  /** Under the keys' locks nothing of what is looked at again can change but by others' hands. */
  async #destroyAgain(found: readonly Candidate[], asking: Asking): Promise<string[]> {
    const again: Candidate[] = [];
    for (const { target } of found) again.push(await this.#look(target));
    return await this.#destroy(again, asking);
  }

  /** Nothing is destroyed before all of it is seen to be free. */
  async #destroy(found: readonly Candidate[], asking: Asking): Promise<string[]> {
    const persons = this.approve(found, asking);
    this.#resources.audit.requireWritable();
    for (const { target, findings } of found) await this.#requireReady(target, findings);
    const paths: string[] = [];
    for (const { target, findings } of found)
      paths.push(await shred(target, findings, persons, this.#resources));
    this.#requests.remove(this.#resources.clock.now(), (key, since) => this.#isDestroyed(key, since, []));
    return paths;
  }

  /**
   * What an earlier call has begun is gone on with where the volume shows that, and nowhere else.
   * @throws SHRED_REFUSED where another volume was begun with
   */
  async #look(target: ShredTarget): Promise<Candidate> {
    const note = this.#resources.notes.find(target.key);
    const isOurs = note !== undefined && (await isBegunOn(target, note, this.#resources));
    return { target, findings: isOurs ? note : await look(target, this.#resources) };
  }

  /** Of an earlier call that has destroyed it: it has a record, and the volume's header is not there. */
  #recordOfEarlier({ key }: ShredTarget, thrown: unknown): string | undefined {
    return GONE.includes(asLuksmithError(thrown).code) ? recordFor(key, this.#places)?.path : undefined;
  }

  /** Its header, or a part of that, since then: by its record, or by what was found. */
  #isDestroyed(key: string, since: string, found: readonly Candidate[]): boolean {
    const begun = found.find(({ findings }) => findings.key === key && isBegun(findings))?.findings;
    const uuid = parseKeyUuid(key);
    const record = uuid && recordFor(uuid, this.#places)?.record;
    const startedAt = begun !== undefined && isBegun(begun) ? begun.startedAt : record?.startedAt;
    return startedAt !== undefined && startedAt >= since;
  }

  async #targets(wish: Wish, guest: ConfiguredGuest | undefined): Promise<ShredTarget[]> {
    const { notes } = this.#resources;
    if (wish.kind === "guest") return guest === undefined ? [] : targetsOf(guest, wish.disks);
    const note = notes.of(wish.volume);
    const begun = note && targetIn(note);
    if (note !== undefined && begun !== undefined && (await isBegunOn(begun, note, this.#resources)))
      return [(await laterOn(note, this.#resources)) ?? begun];
    return [await targetAt(volumeCalled(wish.volume), this.#resources)];
  }

  async #refuseUsed(target: ShredTarget, guest: ConfiguredGuest | undefined, asking: Asking): Promise<void> {
    const lookup = {
      host: this.#container.resolve(HOST),
      mappings: this.#container.resolve(MAPPINGS),
      conversions: this.#conversions,
      snapshots: asking.snapshots,
      otherHosts: asking.otherHosts,
      runner: this.#container.resolve(COMMAND_RUNNER),
    };
    const note = this.#resources.notes.find(target.key);
    const isWithout =
      note !== undefined &&
      volumeName(note.volume) === volumeName(target.volume) &&
      (await isGone(note, this.#resources));
    const refuse = isWithout ? refuseKeyUsed : refuseUsed;
    await this.#recordRefusal(target, () => refuse(target, guest, lookup));
  }

  async #refuseShared(found: readonly Candidate[]): Promise<void> {
    const targets = found.flatMap(({ target, findings }) => (isBegun(findings) ? [] : [target]));
    const [first] = targets;
    if (first === undefined) return;
    const { storage, headers } = this.#resources;
    const ports = { host: this.#container.resolve(HOST), storage, headers };
    await this.#recordRefusal(first, () => refuseSharedVolumeKeys(targets, ports));
  }

  async #requireReady(target: ShredTarget, findings: Findings | ShredNote): Promise<void> {
    await this.#recordRefusal(target, () => requireReady(target, findings, this.#resources));
  }

  async #recordRefusal(target: ShredTarget, refuse: () => Promise<void>): Promise<void> {
    try {
      await refuse();
    } catch (thrown) {
      const of = { ...(target.guest && { guest: target.guest }), ...(target.disk && { disk: target.disk }) };
      const use = { event: "shred", ...of, key: target.key } as const;
      await recordFailure(this.#resources.audit, [use], thrown);
      throw thrown;
    }
  }

  #guest(nameOrId: string): Promise<ConfiguredGuest> {
    return this.#container.resolve(HOST).readGuest(nameOrId);
  }
}

function freshIn(found: readonly Candidate[]): Findings[] {
  return found.flatMap(({ findings }) => (isBegun(findings) ? [] : [findings]));
}
