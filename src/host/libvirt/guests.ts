import { LuksmithError } from "../../error/luksmith-error.js";
import { annotateDomain, plainDomain, unannotateDomain } from "../../guest-config/annotations.js";
import { addDisk, removeDisk } from "../../guest-config/disk-element.js";
import { guestFromDomainXml } from "../../guest-config/domain-guest.js";
import { printable } from "../../error/printable.js";
import {
  type Annotations,
  type ConfiguredGuest,
  type DiskAnnotation,
  type Guest,
  type GuestSummary,
  type NewDisk,
} from "../host-adapter.js";
import type { PathVolume } from "../../storage/volume.js";
import { textFile } from "./text-file.js";
import type { Virsh, VirshAnswer } from "./virsh.js";

/**
 * libvirt's domains. virsh is only ever told a domain's UUID: a name can look like an option, like the number of a
 * running domain or like the UUID of another one, and virsh would try those first.
 */
export class LibvirtGuests {
  constructor(private readonly virsh: Virsh) {}

  async list(): Promise<GuestSummary[]> {
    const answer = await this.virsh.run(["list", "--uuid"], ["list", "--all", "--uuid", "--name"]);
    if (answer.errors.length > 0) throw failed("list the guests", answer);
    const running = new Set<string>();
    const guests: GuestSummary[] = [];
    // old versions of virsh pad the name with spaces
    for (const [, id = "", name] of answer.stdout.matchAll(/^([0-9a-f-]{36})(?: (.*?))? *$/gm)) {
      if (name === undefined) running.add(id);
      else guests.push({ id, name, running: running.has(id) });
    }
    return guests;
  }

  /** As HostAdapter has it; a guest whose name is another one's id is found by its own id only. */
  async read(nameOrId: string): Promise<ConfiguredGuest> {
    const guests = await this.list();
    const byId = guests.filter(({ id }) => id === nameOrId.toLowerCase());
    const [found, another] =
      byId.length > 0 ? byId : guests.filter(({ name }) => name === nameOrId.trimEnd());
    if (found === undefined)
      throw notFound(nameOrId, "no domain has this name or UUID", "see: virsh list --all");
    if (another !== undefined) {
      const ids = `${found.id}, ${another.id}`;
      throw notFound(nameOrId, "names differ in trailing spaces only", `use the UUID: ${ids}`);
    }
    const { xml, saved } = await this.#persistent(found);
    return { ...guestFromDomainXml(xml), running: found.running, saved };
  }

  /** As HostAdapter has it; of a guest that has stopped meanwhile, the persistent configuration. */
  async readRunning({ id, name }: Pick<Guest, "id" | "name">): Promise<Guest> {
    const { stdout, errors } = await this.virsh.run(["dumpxml", "--security-info", "--domain", id]);
    if (errors.length > 0) throw notFound(name, errors.join(": "), "see: virsh list --all");
    return guestFromDomainXml(stdout);
  }

  async annotate(guest: Guest, annotations: Annotations, replaced?: Annotations): Promise<void> {
    await this.#requireUnchanged(guest, `annotate guest ${printable(guest.name)}`);
    await this.#define(guest, annotateDomain(guest.configuration, annotations, replaced));
  }

  async unannotate(guest: Guest, annotations: Annotations, restored?: Annotations): Promise<void> {
    const { xml } = await this.#persistent(guest);
    await this.#define(guest, unannotateDomain(xml, annotations, restored));
  }

  async nameVolume(
    guest: Guest,
    disk: string,
    annotation: DiskAnnotation,
    volume: PathVolume,
  ): Promise<void> {
    await this.#requireUnchanged(guest, `change a disk of guest ${printable(guest.name)}`);
    await this.#define(guest, plainDomain(guest.configuration, disk, annotation, volume));
  }

  async addDisk(guest: Guest, disk: NewDisk): Promise<void> {
    await this.#requireUnchanged(guest, `add a disk to guest ${printable(guest.name)}`);
    await this.#define(guest, addDisk(guest.configuration, disk));
  }

  async removeDisk(guest: Pick<Guest, "id" | "name">, disk: string): Promise<void> {
    const { xml } = await this.#persistent(guest);
    const left = removeDisk(xml, disk);
    if (left !== xml) await this.#define(guest, left);
  }

  /** libvirt cannot replace a configuration on condition: a change within the milliseconds between the two is lost. */
  async #requireUnchanged(guest: Guest, task: string): Promise<void> {
    if ((await this.#persistent(guest)).xml === guest.configuration) return;
    throw new LuksmithError("GUEST_CHANGED", {
      what: `cannot ${task}: somebody changed its configuration meanwhile`,
      hint: "nothing was changed; run the command again",
    });
  }

  /** The XML with the guest's secrets (a VNC password), which defining it again would lose otherwise. */
  async #persistent({ id, name }: Pick<Guest, "id" | "name">): Promise<{ xml: string; saved: boolean }> {
    const { stdout, errors } = await this.virsh.run(
      ["list", "--all", "--persistent", "--uuid"],
      ["list", "--all", "--with-managed-save", "--uuid"],
      ["dumpxml", "--inactive", "--security-info", "--domain", id],
    );
    const start = stdout.indexOf("<domain");
    if (errors.length > 0 || start < 0) throw notFound(name, errors.join(": "), "see: virsh list --all");
    // in the first list if it is persistent, then in the second as well if its memory was saved
    const mentions = stdout.slice(0, start).split(id).length - 1;
    if (mentions > 0) return { xml: stdout.slice(start), saved: mentions > 1 };
    throw notFound(
      name,
      "it is transient: it has no configuration that outlives it",
      "define it: virsh define",
    );
  }

  async #define(guest: Pick<Guest, "name">, xml: string): Promise<void> {
    using file = textFile(xml);
    const answer = await this.virsh.run(["define", file]);
    if (answer.errors.length > 0)
      throw failed(`change the configuration of guest ${printable(guest.name)}`, answer);
  }
}

function notFound(nameOrId: string, why: string, hint: string): LuksmithError {
  return new LuksmithError("GUEST_NOT_FOUND", {
    what: `cannot find guest "${printable(nameOrId)}"`,
    why,
    hint,
  });
}

function failed(task: string, { errors }: VirshAnswer): LuksmithError {
  return new LuksmithError("TOOL_FAILED", { what: `cannot ${task}`, why: errors.join(": ") });
}
