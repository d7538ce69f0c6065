import { existsSync } from "node:fs";
import { join } from "node:path";
import { printable } from "../../error/printable.js";
import { LuksmithError } from "../../error/luksmith-error.js";
import { writeAll } from "../../fs/write-all.js";
import { diskElements, parseDomain } from "../../guest-config/domain.js";
import type { MigrationAnswer } from "../../generated/migration-answer.js";
import type { GuestMigration, Incoming, Whereabouts } from "../guest-migration.js";
import type { Annotations, Guest } from "../host-adapter.js";
import type { LibvirtSecrets } from "./secrets.js";
import type { Virsh } from "./virsh.js";

type NamedGuest = Pick<Guest, "id" | "name">;

const STDOUT = 1;

/** Where libvirt keeps persistent definitions. */
const DEFINITIONS = "/etc/libvirt/qemu";

/** Live migration as libvirt has it. What only some calls need is loaded by them: most of these are made in hooks. */
export class LibvirtMigration implements GuestMigration {
  constructor(
    private readonly virsh: Virsh,
    private readonly secrets: LibvirtSecrets,
  ) {}

  async annotated(guest: Guest, annotations: Annotations, replaced: Annotations): Promise<Guest> {
    const [{ annotateDomain }, { guestFromDomainXml }] = await Promise.all([
      import("../../guest-config/annotations.js"),
      import("../../guest-config/domain-guest.js"),
    ]);
    const xml = annotateDomain(guest.configuration, annotations, replaced);
    return { ...guest, ...guestFromDomainXml(xml) };
  }

  /** libvirt takes all that its `migrate` hook prints for the domain XML. */
  answer(guest: Guest): void {
    writeAll(STDOUT, guest.configuration);
  }

  async incoming(guest: Guest): Promise<Incoming> {
    const { incomingOf } = await import("./incoming.js");
    return incomingOf(guest);
  }

  /** libvirt tells the chain of backing files of a disk that a guest has open, also where that is empty. */
  isShutOff({ configuration }: Guest, disks: readonly string[]): boolean {
    const elements = diskElements(parseDomain(configuration));
    return disks.some((dev) => elements.get(dev)?.element("backingStore") === undefined);
  }

  isDefined({ name }: NamedGuest): boolean {
    return existsSync(join(DEFINITIONS, `${name}.xml`));
  }

  secretUuids(): Promise<ReadonlySet<string>> {
    return this.secrets.uuids();
  }

  async whereabouts({ id, name }: NamedGuest): Promise<Whereabouts> {
    const { stdout, errors } = await this.virsh.run(["domstate", "--reason", "--domain", id]);
    if (errors.length === 0) return whereaboutsIn(stdout.trim());
    // a domain that is not there: also a transient one that has stopped
    if (errors.some((error) => error.startsWith("failed to get domain"))) return "absent";
    throw new LuksmithError("TOOL_FAILED", {
      what: `cannot see whether guest ${printable(name)} runs`,
      why: errors.join(": "),
    });
  }

  async ask(guest: NamedGuest, target: string): Promise<MigrationAnswer | undefined> {
    const { askTarget } = await import("./ask-target.js");
    return askTarget(this.virsh, guest, target);
  }
}

/** States that a domain has only before its memory has come; `migrating` also that of one that is just leaving. */
const ARRIVING: readonly string[] = ["paused (migrating)", "paused (starting up)"];

/** @param state as `virsh domstate --reason` prints it: `running (booted)` */
function whereaboutsIn(state: string): Whereabouts {
  if (state.startsWith("shut off")) return "absent";
  return ARRIVING.includes(state) ? "arriving" : "running";
}
