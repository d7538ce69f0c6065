import { type CommandRunner, ExecaCommandRunner } from "../../../exec/command-runner.js";
import type { ProxmoxStorage } from "../../../generated/proxmox-storage.js";
import { VolumeLocks } from "../../../storage/volume-lock.js";
import { DirectoryBase } from "./directory.js";
import { LvmBase } from "./lvm.js";
import { LvmThinBase } from "./lvm-thin.js";
import { RbdBase } from "./rbd.js";
import { ZfsBase } from "./zfs.js";

export type AnyBase = DirectoryBase | LvmBase | LvmThinBase | RbdBase | ZfsBase;

/** What bases work with. */
export interface BasePorts {
  readonly runner: CommandRunner;
  /** Between all processes of the host. */
  readonly locks: VolumeLocks;
}

/** The base of a storage. Starts no process and touches nothing before it is asked something. */
export function baseOf({ base }: Pick<ProxmoxStorage, "base">, ports: BasePorts = defaultPorts()): AnyBase {
  switch (base.type) {
    case "directory":
      return new DirectoryBase(base.path, ports);
    case "lvm":
      return new LvmBase(base.vg, ports);
    case "lvm-thin":
      return new LvmThinBase(base, ports);
    case "rbd":
      return new RbdBase(base, ports);
    case "zfs":
      return new ZfsBase(base.dataset, ports);
  }
}

function defaultPorts(): BasePorts {
  const runner = new ExecaCommandRunner();
  return { runner, locks: new VolumeLocks(runner) };
}
