import { LuksmithError } from "../../error/luksmith-error.js";
import type { HostVersions } from "../host-adapter.js";
import type { Virsh } from "./virsh.js";

/** The versions that run, as libvirtd tells them. @throws HOST_UNAVAILABLE, TOOL_MISSING if it finds no QEMU */
export async function askVersions(virsh: Virsh): Promise<HostVersions> {
  const { stdout, errors } = await virsh.run(["version", "--daemon"]);
  const qemu = /^Running hypervisor: QEMU (\S+)$/m.exec(stdout)?.[1];
  const libvirt = /^Running against daemon: (\S+)$/m.exec(stdout)?.[1];
  if (qemu !== undefined && libvirt !== undefined) return { qemu, libvirt };
  throw new LuksmithError("TOOL_MISSING", {
    what: "cannot tell the version of QEMU",
    why: errors.join(": ") || "libvirt does not say it",
    hint: "apt-get install qemu-system-x86, and restart libvirtd",
  });
}
