import { setTimeout } from "node:timers/promises";
import { volumeOfDisk } from "../../disk-info/domain-volume.js";
import { LuksmithError } from "../../error/luksmith-error.js";
import { printable } from "../../error/printable.js";
import { diskText } from "../../guest-config/disk-element.js";
import { diskElements, diskNamed, parseDomain } from "../../guest-config/domain.js";
import { readEncryption } from "../../guest-config/encryption-element.js";
import { guestConfigInvalid } from "../../guest-config/guest-config-invalid.js";
import {
  type MappingEntry,
  MAPPINGS_NAMESPACE,
  mappingsElement,
  readMappings,
} from "../../guest-config/mapping-metadata.js";
import type { Guest } from "../host-adapter.js";
import { textFile } from "./text-file.js";
import type { Virsh, VirshCommand } from "./virsh.js";

type NamedGuest = Pick<Guest, "id" | "name">;

/** Milliseconds: QEMU opens the volume meanwhile, and a foreign keyslot can take seconds. */
const PATIENCE = 60_000;

/** A guest's system answers a request within a second or two, if it answers. Each request waits some seconds itself. */
const DETACHING = { requests: 2, looks: 12, pause: 500 };

/** Gives disks to running domains, and takes them away. Whoever calls holds the guest's lock. */
export class LibvirtHotPlug {
  constructor(
    private readonly virsh: Virsh,
    private readonly detaching = DETACHING,
  ) {}

  /**
   * As HostAdapter has it. Metadata first: a guest that is stopped at any moment then still tells what lies under its
   * mappings.
   */
  async attach(guest: NamedGuest, dev: string): Promise<void> {
    const persistent = await this.#persistentXml(guest);
    const live = await this.#liveXml(guest);
    if (live === undefined) throw notRunning(guest, dev);
    const wanted = diskNamed(parseDomain(persistent), dev);
    const now = diskElements(parseDomain(live)).get(dev);
    const entry = readMappings(parseDomain(persistent)).entries.get(dev);
    if (now !== undefined && sourceOf(dev, now) !== sourceOf(dev, wanted)) {
      throw attachFailed(guest, dev, "it has another disk of this name");
    }
    await this.#setEntry(guest, live, dev, entry);
    if (now !== undefined) return;
    const why = await this.#plug(guest, persistent, dev);
    if (why === undefined) return;
    await this.#forget(guest, dev).catch(ignoreFailure);
    throw attachFailed(guest, dev, why);
  }

  /** As HostAdapter has it: libvirt only asks the guest's system, and hears later what came of it. */
  async detach(guest: NamedGuest, dev: string): Promise<void> {
    let isAsked = false;
    let refusal = "";
    for (let request = 0; request < this.detaching.requests; request++) {
      if ((await this.#liveDisk(guest, dev)) === undefined) break;
      const command = ["detach-disk", "--domain", guest.id, "--target", dev, "--live"];
      const { errors } = await this.virsh.waiting(PATIENCE).run(command);
      // a further request can be refused since the first one is under way
      isAsked ||= errors.length === 0;
      refusal = errors.join(": ");
      for (let look = 0; isAsked && look < this.detaching.looks; look++) {
        if ((await this.#liveDisk(guest, dev)) === undefined) break;
        await setTimeout(this.detaching.pause);
      }
    }
    if ((await this.#liveDisk(guest, dev)) !== undefined) {
      throw detachFailed(guest, dev, isAsked ? "it was asked, and has not let the disk go" : refusal);
    }
    await this.#forget(guest, dev);
  }

  /**
   * Where the disk will be after the guest's next start; or else, since another device can be there now, where the
   * running guest has room. Resolves to why both failed.
   */
  async #plug({ id }: NamedGuest, persistent: string, dev: string): Promise<string | undefined> {
    const [fixed, movable] = [diskText(persistent, dev, "fixed"), diskText(persistent, dev, "movable")];
    let why: string | undefined;
    for (const text of new Set([fixed, movable])) {
      using file = textFile(text);
      const command: VirshCommand = ["attach-device", "--domain", id, "--file", file, "--live"];
      const { errors } = await this.virsh.waiting(PATIENCE).run(command);
      if (errors.length === 0) return undefined;
      why = errors.join(": ");
    }
    return why;
  }

  async #forget(guest: NamedGuest, dev: string): Promise<void> {
    const live = await this.#liveXml(guest);
    if (live !== undefined) await this.#setEntry(guest, live, dev, undefined);
  }

  /** Makes the running guest's metadata say this, or nothing, about the disk. */
  async #setEntry(
    guest: NamedGuest,
    live: string,
    dev: string,
    entry: MappingEntry | undefined,
  ): Promise<void> {
    const { entries, problems } = readMappings(parseDomain(live));
    const [problem] = problems;
    if (problem !== undefined) {
      // to leave them costs less than to keep the disk
      if (entry === undefined) return;
      throw guestConfigInvalid(`the running guest's metadata element luksmith:mappings: ${problem}`);
    }
    const others = [...entries.values()].filter((one) => one.dev !== dev);
    const wanted = entry === undefined ? others : [...others, entry];
    if (mappingsElement(wanted) === mappingsElement([...entries.values()])) return;
    const target = ["metadata", "--domain", guest.id, "--uri", { text: MAPPINGS_NAMESPACE }, "--live"];
    const change =
      wanted.length === 0 ? ["--remove"] : ["--key", "luksmith", "--set", { text: mappingsElement(wanted) }];
    const { errors } = await this.virsh.run([...target, ...change]);
    if (errors.length === 0 || (await this.#liveXml(guest)) === undefined) return;
    throw new LuksmithError("TOOL_FAILED", {
      what: `cannot note what lies under disk ${dev} of running guest ${printable(guest.name)}`,
      why: errors.join(": "),
    });
  }

  async #liveDisk(guest: NamedGuest, dev: string) {
    const live = await this.#liveXml(guest);
    return live === undefined ? undefined : diskElements(parseDomain(live)).get(dev);
  }

  async #persistentXml({ id, name }: NamedGuest): Promise<string> {
    const { stdout, errors } = await this.virsh.run([
      ...["dumpxml", "--inactive", "--security-info", "--domain", id],
    ]);
    if (errors.length === 0) return stdout;
    throw notFound(name, errors);
  }

  /** Undefined for a guest that does not run. */
  async #liveXml({ id, name }: NamedGuest): Promise<string | undefined> {
    const { stdout, errors } = await this.virsh.run(
      ["list", "--uuid"],
      ["dumpxml", "--security-info", "--domain", id],
    );
    const start = stdout.indexOf("<domain");
    if (errors.length > 0 || start < 0) throw notFound(name, errors);
    return stdout.slice(0, start).includes(id) ? stdout.slice(start) : undefined;
  }
}

/** On the way out of a failure, whose error is the one to report. */
function ignoreFailure(thrown: unknown): void {
  if (!(thrown instanceof LuksmithError)) throw thrown;
}

/** What tells whether two disks of one name are the same. */
function sourceOf(dev: string, disk: Parameters<typeof volumeOfDisk>[1]): string {
  return JSON.stringify([volumeOfDisk(dev, disk), readEncryption(dev, disk)?.secretUuid]);
}

function notFound(name: string, errors: readonly string[]): LuksmithError {
  return new LuksmithError("GUEST_NOT_FOUND", {
    what: `cannot find guest "${printable(name)}"`,
    why: errors.join(": "),
    hint: "see: virsh list --all",
  });
}

function notRunning({ name }: NamedGuest, dev: string): LuksmithError {
  return new LuksmithError("GUEST_NOT_RUNNING", {
    what: `cannot give guest ${printable(name)} disk ${printable(dev)} now: it does not run`,
    hint: "run the command again: the guest has the disk from its next start on",
  });
}

function attachFailed({ name }: NamedGuest, dev: string, why: string): LuksmithError {
  return new LuksmithError("DISK_ATTACH_FAILED", {
    what: `cannot give running guest ${printable(name)} disk ${printable(dev)}`,
    why,
    hint: "put this right and run the command again",
  });
}

function detachFailed({ name }: NamedGuest, dev: string, why: string): LuksmithError {
  return new LuksmithError("DISK_DETACH_FAILED", {
    what: `cannot take disk ${printable(dev)} from running guest ${printable(name)}`,
    why,
    hint: "see that nothing in the guest uses the disk, and run the command again; or shut the guest down",
  });
}
