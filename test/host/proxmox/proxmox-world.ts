import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Container } from "../../../src/di.js";
import { compose } from "../../../src/container.js";
import { dispatch } from "../../../src/event/dispatch.js";
import type { LeftBehind } from "../../../src/exec/left-behind.js";
import { ExecaCommandRunner } from "../../../src/exec/command-runner.js";
import { volumeOnBase } from "../../../src/host/proxmox/base-volume.js";
import { ProxmoxHostAdapter } from "../../../src/host/proxmox/proxmox-host-adapter.js";
import { ProxmoxPlaces } from "../../../src/host/proxmox/places.js";
import type { EventName, LifecycleEvent } from "../../../src/host/host-adapter.js";
import { keyUuidOf } from "../../../src/keystore/key-record.js";
import type { KeyUuid } from "../../../src/keystore/key-uuid.js";
import { Arrivals } from "../../../src/migration/arrivals.js";
import { GuestLocks } from "../../../src/plan/guest-locks.js";
import type { Step } from "../../../src/plan/step.js";
import { Secret } from "../../../src/secret/secret.js";
import { parseSettings } from "../../../src/settings/load.js";
import { createStorageRegistry } from "../../../src/storage/index.js";
import { VolumeLocks } from "../../../src/storage/volume-lock.js";
import * as t from "../../../src/tokens.js";
import { FakeHeaderVault } from "../../fake/fake-header-vault.js";
import { RecordingAudit } from "../../fake/recording-audit.js";
import { RecordingLogger } from "../../fake/recording-logger.js";
import { temporaryDirectory } from "../../fs/tree.js";
import { sampleRecord } from "../../keystore/sample-key.js";

export const NODE = "pve1";
export const STORAGE = "enc";
const SIZE = 4 * 1024 * 1024;

/**
 * A node of Proxmox VE below a directory in memory: its configuration files, and nothing of Proxmox VE itself. Handlers,
 * planners, keystore, volumes and host secrets are real.
 */
export class ProxmoxWorld {
  readonly root = temporaryDirectory("/dev/shm");
  readonly places = new ProxmoxPlaces(this.root);
  readonly base = join(this.root, "base");
  readonly runner = new ExecaCommandRunner();
  /** Commands that were left to be done after the hooks. */
  readonly leftBehind: LeftBehind[] = [];
  readonly audit = new RecordingAudit();
  readonly headers = new FakeHeaderVault();
  readonly logger = new RecordingLogger();
  readonly settings;
  readonly container: Container;
  readonly host: ProxmoxHostAdapter;

  constructor(settings: object = {}) {
    const keystore = { name: "local", type: "file", directory: join(this.root, "keystore") };
    const text = JSON.stringify({ version: 1, keystores: [keystore], ...settings });
    this.settings = parseSettings(text, "the test");
    const locks = join(this.root, "lock");
    const storage = createStorageRegistry(
      this.runner,
      this.settings.storage,
      new VolumeLocks(this.runner, locks),
    );
    this.host = new ProxmoxHostAdapter(
      this.settings,
      {
        runner: this.runner,
        storage: () => storage,
        leaveBehind: (left) => this.leftBehind.push(left),
      },
      this.places,
    );
    this.container = compose({ settings: this.settings, host: "proxmox", humanLevel: "error" })
      .value(t.HOST, this.host)
      .value(t.STORAGE, storage)
      .value(t.LOGGER, this.logger)
      .value(t.GUEST_LOCKS, new GuestLocks(this.runner, locks))
      .value(t.AUDIT, this.audit)
      .value(t.HEADER_VAULT, this.headers)
      .value(t.ARRIVALS, new Arrivals(join(this.root, "arrivals")));
    mkdirSync(this.base);
    this.write(
      "etc/pve/storage.cfg",
      `dir: local\n\tpath /v\n\nluksmith: ${STORAGE}\n\tbase-path ${this.base}\n`,
    );
    const storages = [{ id: STORAGE, base: { type: "directory", path: this.base } }];
    this.write("etc/pve/luksmith/storages.json", JSON.stringify({ version: 1, storages }));
    mkdirSync(join(this.places.nodes, NODE, "qemu-server"), { recursive: true });
    symlinkSync(`nodes/${NODE}`, join(this.places.pve, "local"));
  }

  write(path: string, text: string): string {
    const absolute = join(this.root, path);
    mkdirSync(dirname(absolute), { recursive: true });
    writeFileSync(absolute, text);
    return absolute;
  }

  /** A VM's configuration file. */
  vm(vmid: number, options: Record<string, string>, { node = NODE, more = "" } = {}): void {
    const lines = Object.entries(options).map(([name, value]) => `${name}: ${value}\n`);
    this.write(`etc/pve/nodes/${node}/qemu-server/${vmid}.conf`, lines.join("") + more);
  }

  path(name: string): string {
    return join(this.base, `${name}.luks`);
  }

  /** An encrypted volume with a key of its own, as the bridge makes them. */
  async volume(name: string, passphrase = "secret"): Promise<KeyUuid> {
    const volume = volumeOnBase({ type: "directory", path: this.base }, name);
    writeFileSync(this.path(name), Buffer.alloc(0));
    await this.runner.run({ tool: "qemu-img", args: ["resize", "-f", "raw", this.path(name), String(SIZE)] });
    const guest = { id: /\d+/.exec(name)?.[0] ?? "", name: "vm" };
    const record = sampleRecord({ guest, disk: name, volume: this.path(name) });
    const uuid = keyUuidOf(record);
    using secret = Secret.own(Buffer.from(passphrase.padEnd(88, ".")));
    const keystore = await this.container.resolve(t.KEYRING).get("local");
    await keystore.store({ record, passphrase: secret });
    const backend = await this.container.resolve(t.STORAGE).backendFor(volume);
    await backend.createEncrypted({
      volume,
      uuid,
      spec: { ...record.encryption, format: "luks" },
      passphrase: secret,
    });
    await keystore.update({ ...record, state: "active" });
    return uuid;
  }

  /** What the storage plugin gives a hook of this name. */
  event(
    event: EventName,
    vmid: number,
    config: Record<string, string>,
    { start, phase = event }: { start?: string; phase?: string } = {},
  ): LifecycleEvent {
    const stdin = JSON.stringify({ version: 1, vmid, config, ...(start && { start }) });
    return this.host.parseEvent({ event, argv: [String(vmid), phase], stdin });
  }

  async handle(event: LifecycleEvent): Promise<Step["kind"][]> {
    const { stages } = await dispatch(this.container, event, "handle");
    return stages.flat().map(({ kind }) => kind);
  }

  async plan(event: LifecycleEvent): Promise<Step["kind"][]> {
    const { stages } = await dispatch(this.container, event, "plan");
    return stages.flat().map(({ kind }) => kind);
  }

  startPath(vmid: number, start: string): string {
    return join(this.places.starts, String(vmid), start);
  }
}

/** Name of a start by a process that is there: this one's, or `pid`'s. */
export function startOf(pid = process.pid, number = 0): string {
  const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
  const since = stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? "";
  return `${pid}-${since}-${number}`;
}

/** Name of a start by a process that is gone: this one's pid, which another process had before. */
export function goneStart(number = 0): string {
  return `${process.pid}-1-${number}`;
}
