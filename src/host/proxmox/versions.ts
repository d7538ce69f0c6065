import { LuksmithError } from "../../error/luksmith-error.js";
import type { CommandRunner } from "../../exec/command-runner.js";
import { findTool } from "../../exec/tools.js";
import type { HostVersions } from "../host-adapter.js";

/** The version of QEMU that guests are started with. @throws TOOL_MISSING, TOOL_FAILED */
export async function askVersions(runner: CommandRunner): Promise<HostVersions> {
  // both are of Proxmox VE's one package; where there is no KVM, the tools tell it
  const tool = findTool("kvm") === undefined ? "qemu-img" : "kvm";
  const { stdout } = await runner.run({ tool, args: ["--version"] });
  const qemu = /version (\d+(?:\.\d+)+)/.exec(stdout)?.[1];
  if (qemu !== undefined) return { qemu, libvirt: undefined };
  throw new LuksmithError("TOOL_FAILED", {
    what: "cannot tell the version of QEMU",
    why: `${tool} --version does not say it`,
  });
}
