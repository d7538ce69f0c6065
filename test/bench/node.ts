import { mkdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { fileURLToPath } from "node:url";
import { type Program, runProgram } from "./program.js";

const MIB = 1024 * 1024;
const BASE = "/run/base";
const PLAIN = "/run/plain";

/** What a node of Proxmox VE has: /etc/pve with an encrypted storage `enc` and a plain one, and volumes on them. */
export class BenchNode {
  readonly repository = fileURLToPath(new URL("../..", import.meta.url));
  #starts = 0;

  constructor() {
    for (const path of [
      BASE,
      `${PLAIN}/images/100`,
      `/etc/pve/nodes/${hostname()}/qemu-server`,
      "/etc/pve/luksmith",
    ])
      mkdirSync(path, { recursive: true });
    writeFileSync(
      "/etc/pve/storage.cfg",
      `luksmith: enc\n\tbase-path ${BASE}\n\tcontent images\n\ndir: plain\n\tpath ${PLAIN}\n\tcontent images\n`,
    );
    const keystores = [{ name: "local", type: "file", directory: "/run/keystore" }];
    const settings = { version: 1, keystores, logFile: "/run/luksmith.log", proxmox: { annotate: false } };
    writeFileSync("/etc/pve/luksmith/settings.json", JSON.stringify(settings));
  }

  /** Encrypted volumes of 8 MiB, made by the engine, and plain ones beside them; their names on both. */
  volumes(vmid: number, count: number): string[] {
    mkdirSync(`${PLAIN}/images/${vmid}`, { recursive: true });
    return Array.from({ length: count }, (_, index) => {
      const volume = `vm-${vmid}-disk-${index}`;
      this.#bridge({ op: "create", volume, vmid, size: 8 * MIB });
      const plain = `${PLAIN}/images/${vmid}/${volume}.raw`;
      writeFileSync(plain, "");
      truncateSync(plain, 8 * MIB);
      return volume;
    });
  }

  /** As the storage plugin starts it, for a guest with these disks. */
  preStart(vmid: number, volumes: readonly string[]): Program {
    const disks = volumes.map((volume, index) => [`scsi${index}`, `enc:${volume},size=8M`]);
    const config = { name: `guest${vmid}`, memory: "512", ...(Object.fromEntries(disks) as object) };
    const input = { version: 1, vmid, config, start: this.#start() };
    const hook = `${this.repository}dist/hooks/pre-start.js`;
    return {
      argv: [process.execPath, hook, "proxmox", String(vmid), "pre-start"],
      input: JSON.stringify(input),
    };
  }

  withdraw(vmid: number): void {
    rmSync(`/run/luksmith/vm/${vmid}`, { recursive: true, force: true });
  }

  #bridge(request: object): void {
    const storage = { id: "enc", base: { type: "directory", path: BASE } };
    runProgram({
      argv: [process.execPath, `${this.repository}dist/cli/luksmith.js`, "bridge"],
      input: JSON.stringify({ version: 1, storage, ...request }),
    });
  }

  /** Of this process, as a daemon of Proxmox VE would name its starts. */
  #start(): string {
    const fields = readFileSync("/proc/self/stat", "utf8")
      .replace(/^.*\) /, "")
      .split(" ");
    return `${process.pid}-${fields[19]}-${++this.#starts}`;
  }
}
