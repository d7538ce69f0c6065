import { LuksFormatter } from "../encryption/luks-formatter.js";
import type { CommandRunner } from "../exec/command-runner.js";
import { Qcow2Backend } from "./qcow2.js";
import { RawBackend } from "./raw.js";
import type { StorageBackend } from "./storage-backend.js";
import { StorageRegistry } from "./storage-registry.js";
import { VolumeLocks } from "./volume-lock.js";

export { StorageRegistry } from "./storage-registry.js";

type Factory = (runner: CommandRunner, formatter: LuksFormatter, locks: VolumeLocks) => StorageBackend;

/** Every storage backend by its type; plugin.json lists the same. */
const FACTORIES: Readonly<Record<string, Factory>> = {
  raw: (...ports) => new RawBackend(...ports),
  qcow2: (...ports) => new Qcow2Backend(...ports),
};

export const BACKEND_TYPES: readonly string[] = Object.keys(FACTORIES);

export function createStorageRegistry(runner: CommandRunner): StorageRegistry {
  const formatter = new LuksFormatter(runner);
  const locks = new VolumeLocks(runner);
  return new StorageRegistry(Object.values(FACTORIES).map((make) => make(runner, formatter, locks)));
}
