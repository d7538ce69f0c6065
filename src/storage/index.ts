import { LuksFormatter } from "../encryption/luks-formatter.js";
import type { CommandRunner } from "../exec/command-runner.js";
import type { Settings } from "../generated/settings.js";
import { BlockBackend } from "./block/block.js";
import { LvmBackend } from "./lvm/lvm.js";
import { LvmThinBackend } from "./lvm/lvm-thin.js";
import { Qcow2Backend } from "./qcow2/qcow2.js";
import { RawBackend } from "./raw/raw.js";
import { RbdBackend } from "./rbd/rbd.js";
import type { StorageBackend } from "./storage-backend.js";
import { StorageRegistry } from "./storage-registry.js";
import { VolumeLocks } from "./volume-lock.js";
import { ZfsBackend } from "./zfs/zfs.js";

export { StorageRegistry } from "./storage-registry.js";

/** The settings of each kind of storage, every default of the schemas filled in. */
export type StorageSettings = {
  readonly [Type in StorageType]: Required<NonNullable<Required<Settings>["storage"][Type]>>;
};
type StorageType = keyof Required<Settings>["storage"];

type Factory = (
  ports: readonly [CommandRunner, LuksFormatter, VolumeLocks],
  settings: StorageSettings,
) => StorageBackend;

/**
 * Every storage backend by its type; plugin.json and the schema of the settings list the same. The first one that
 * accepts a volume has it: those that know only some block devices stand before the one that takes them all.
 */
const FACTORIES: Readonly<Record<StorageType, Factory>> = {
  raw: (ports) => new RawBackend(...ports),
  qcow2: (ports) => new Qcow2Backend(...ports),
  zfs: (ports) => new ZfsBackend(...ports),
  rbd: (ports, settings) => new RbdBackend(...ports, settings.rbd),
  lvm: (ports) => new LvmBackend(...ports),
  "lvm-thin": (ports) => new LvmThinBackend(...ports),
  block: (ports) => new BlockBackend(...ports),
};

export const BACKEND_TYPES = Object.keys(FACTORIES) as readonly StorageType[];

/** @param locks its default directory is the same for all processes of the host */
export function createStorageRegistry(
  runner: CommandRunner,
  settings: StorageSettings,
  locks = new VolumeLocks(runner),
): StorageRegistry {
  const ports = [runner, new LuksFormatter(runner), locks] as const;
  const unformatted = BACKEND_TYPES.filter((type) => settings[type].formatting === "never");
  return new StorageRegistry(
    BACKEND_TYPES.map((type) => FACTORIES[type](ports, settings)),
    new Set(unformatted),
  );
}
