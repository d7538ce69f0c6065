import { LuksmithError } from "../../error/luksmith-error.js";
import { printable } from "../../error/printable.js";
import type { Guest } from "../host-adapter.js";
import type { Virsh } from "./virsh.js";

/** Milliseconds: QEMU writes tables of many MiB for a qcow2 overlay that grows by terabytes, and libvirt waits for it. */
const PATIENCE = 600_000;

/** The disks of running domains. A device name is letters and digits: libvirt takes no other. */
export class LibvirtDisks {
  constructor(private readonly virsh: Virsh) {}

  /** As HostAdapter has it: libvirt asks QEMU for the size of what the guest is given, behind any encryption. */
  async size({ id, name }: Pick<Guest, "id" | "name">, disk: string): Promise<bigint> {
    const { stdout, errors } = await this.virsh.run(["domblkinfo", "--domain", id, "--device", disk]);
    const size = capacityOf(stdout);
    if (size !== undefined) return size;
    throw new LuksmithError("TOOL_FAILED", {
      what: `cannot tell how large disk ${printable(disk)} of guest ${printable(name)} is`,
      why: errors.join(": ") || "libvirt does not say it",
    });
  }

  /** As HostAdapter has it. Without the suffix, virsh takes a size for KiB. */
  async resize({ id, name }: Pick<Guest, "id" | "name">, disk: string, bytes: bigint): Promise<void> {
    const { stdout, errors } = await this.virsh
      .waiting(PATIENCE)
      .run(
        ["blockresize", "--domain", id, "--path", disk, "--size", `${bytes}B`],
        ["domblkinfo", "--domain", id, "--device", disk],
      );
    const size = capacityOf(stdout);
    if (errors.length === 0 && size !== undefined && size >= bytes) return;
    throw new LuksmithError("VOLUME_GROW_FAILED", {
      what: `cannot make running guest ${printable(name)} see ${bytes} bytes of disk ${printable(disk)}`,
      why: errors.join(": ") || `it sees ${size ?? "an unknown number of"} bytes`,
      hint: "put this right and run the command again: it goes on from here",
    });
  }
}

function capacityOf(stdout: string): bigint | undefined {
  const digits = /^Capacity: +([0-9]+)$/m.exec(stdout)?.[1];
  return digits === undefined ? undefined : BigInt(digits);
}
