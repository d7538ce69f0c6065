import type { CommandRunner } from "../../../exec/command-runner.js";
import type { Keyring } from "../../../keystore/keyring.js";
import type { StorageRegistry } from "../../../storage/storage-registry.js";
import type { VolumeLocks } from "../../../storage/volume-lock.js";
import type { BaseStorage } from "../base/base-storage.js";
import type { ProxmoxPlaces } from "../places.js";

/** What ending an export needs. */
export interface ExportResources {
  readonly runner: CommandRunner;
  readonly locks: VolumeLocks;
  readonly places: ProxmoxPlaces;
}

/** What opening one needs besides. */
export interface OpenResources extends ExportResources {
  /** Of the volume's storage. */
  readonly base: BaseStorage;
  readonly storage: StorageRegistry;
  readonly keyring: Pick<Keyring, "locate">;
}
