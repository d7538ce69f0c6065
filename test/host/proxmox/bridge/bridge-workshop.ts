import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { BridgeRequest } from "../../../../src/generated/bridge-request.js";
import type { ProxmoxStorage } from "../../../../src/generated/proxmox-storage.js";
import { baseOf } from "../../../../src/host/proxmox/base/index.js";
import { perform } from "../../../../src/host/proxmox/bridge/perform.js";
import type { BridgeResources, BridgeResult } from "../../../../src/host/proxmox/bridge/resources.js";
import { ProxmoxPlaces } from "../../../../src/host/proxmox/places.js";
import { FileKeystore } from "../../../../src/keystore/file/file-keystore.js";
import { Keyring } from "../../../../src/keystore/keyring.js";
import type { KeyDeleter, Keystore } from "../../../../src/keystore/keystore.js";
import { parseSettings } from "../../../../src/settings/load.js";
import { createStorageRegistry } from "../../../../src/storage/index.js";
import { VolumeLocks } from "../../../../src/storage/volume-lock.js";
import { FakeHeaderVault } from "../../../fake/fake-header-vault.js";
import { RecordingAudit } from "../../../fake/recording-audit.js";
import { RecordingCommandRunner } from "../../../fake/recording-command-runner.js";

/** A request of each operation, without what the workshop adds. */
type Asked = { readonly op: BridgeRequest["op"]; readonly [field: string]: unknown };

/** A storage of type luksmith, and a host of its own in memory on which the bridge is asked. */
export class BridgeWorkshop implements Disposable {
  readonly directory: string;
  readonly storage: ProxmoxStorage;
  readonly runner = new RecordingCommandRunner();
  readonly locks: VolumeLocks;
  readonly places: ProxmoxPlaces;
  readonly local: FileKeystore;
  keystore: Keystore & KeyDeleter;
  readonly warnings: string[] = [];
  now = new Date("2026-01-01T00:00:00Z");
  readonly audit = new RecordingAudit();
  readonly headers = new FakeHeaderVault();

  /**
   * @param base the storage's; a directory without it
   * @param settings besides those of the keystore
   * @param root of a workshop that is there, for another process
   */
  constructor(
    base?: ProxmoxStorage["base"],
    private readonly settings: object = {},
    readonly root = mkdtempSync("/dev/shm/luksmith-bridge-"),
  ) {
    this.directory = join(root, "base");
    mkdirSync(this.directory, { recursive: true, mode: 0o700 });
    this.locks = new VolumeLocks(this.runner, join(root, "lock"), 20);
    this.places = new ProxmoxPlaces(join(root, "host"));
    this.local = new FileKeystore({ name: "local", type: "file", directory: join(root, "keys") });
    this.keystore = this.local;
    this.storage = { id: "local-luks", base: base ?? { type: "directory", path: this.directory } };
  }

  get base() {
    return baseOf(this.storage, this);
  }

  get resources(): BridgeResources {
    const { runner, locks, places, keystore } = this;
    const settings = parseSettings(JSON.stringify({ version: 1, ...this.settings }), "the test");
    return {
      ...{ settings, runner, locks, places },
      keyring: new Keyring(
        settings.keystores.map(({ name }) => ({ name, make: () => Promise.resolve(keystore) })),
      ),
      storage: createStorageRegistry(runner, settings.storage, locks),
      clock: { now: () => this.now },
      audit: this.audit,
      headers: this.headers,
      warn: (message) => this.warnings.push(message),
    };
  }

  ask(request: Asked): Promise<BridgeResult> {
    const whole = { version: 1, storage: this.storage, volume: "vm-100-disk-0", ...request };
    return perform(whole as BridgeRequest, this.resources);
  }

  create(volume = "vm-100-disk-0", size = 8 * 1024 * 1024): Promise<BridgeResult> {
    return this.ask({ op: "create", volume, vmid: 100, size });
  }

  free(volume = "vm-100-disk-0"): Promise<BridgeResult> {
    return this.ask({ op: "free", volume });
  }

  provide(volume = "vm-100-disk-0", file = "scsi0"): Promise<BridgeResult> {
    const volumes: [{ storage: ProxmoxStorage; volume: string; file: string }] = [
      { storage: this.storage, volume, file },
    ];
    return perform({ version: 1, op: "provide", vmid: 100, start: "7-7-0", volumes }, this.resources);
  }

  /** Where `provide` writes. */
  secret(file = "scsi0"): string {
    return join(this.places.starts, "100", "7-7-0", file);
  }

  keys() {
    return this.local.find({});
  }

  [Symbol.dispose](): void {
    rmSync(this.root, { recursive: true, force: true });
  }
}
