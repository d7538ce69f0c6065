import { execa } from "execa";
import { setTimeout as sleep } from "node:timers/promises";
import type { ExecResult } from "../../lab/libvirt-host.js";
import type { GuestDisk, TestGuest } from "./guests.js";
import type { LuksmithHost } from "./luksmith-host.js";
import type { ImageFormat } from "./volumes.js";

/** Milliseconds. */
const PATIENCE = 30_000;

export interface OnlineConversion {
  readonly to: "encrypted" | "plain" | "another volume key";
  /** Beside the old volume without it. */
  readonly path?: string;
  /** Bytes a second. */
  readonly rate?: number;
}

const COMMANDS = {
  encrypted: ["protect", "--convert"],
  plain: ["unprotect", "--yes"],
  "another volume key": ["rotate", "--deep"],
};

/** The command as an administrator calls it; what it says is for machines. */
export function conversionOf(
  host: LuksmithHost,
  { uuid }: TestGuest,
  dev: string,
  { to, path, rate }: OnlineConversion,
): string[] {
  const [command = "", ...options] = COMMANDS[to];
  const where = path === undefined ? [] : ["--to", path];
  const speed = rate === undefined ? [] : ["--rate", String(rate)];
  return host.command(command, uuid, ...options, "--disk", dev, ...where, ...speed, "--json");
}

export function convertRunning(
  host: LuksmithHost,
  guest: TestGuest,
  dev: string,
  conversion: OnlineConversion,
): Promise<ExecResult> {
  return host.libvirt.exec(conversionOf(host, guest, dev, conversion));
}

/** A conversion that goes on while the test does something else. */
export interface Underway {
  signal(signal: NodeJS.Signals): Promise<void>;
  readonly ended: Promise<{ readonly exitCode: number | undefined; readonly said: string }>;
}

/** Resolves when the guest's QEMU copies. */
export async function beginConversion(
  host: LuksmithHost,
  guest: TestGuest,
  dev: string,
  conversion: OnlineConversion,
): Promise<Underway> {
  const pid = /^\/proc\/([0-9]+)\//.exec(`${host.libvirt.root}/`)?.[1] ?? "";
  const argv = [
    "--target",
    pid,
    "--mount",
    "--pid",
    "--uts",
    "--",
    ...conversionOf(host, guest, dev, conversion),
  ];
  const child = execa("nsenter", argv, {
    reject: false,
    all: true,
  });
  const ended = child.then(({ exitCode, all }) => ({ exitCode, said: all }));
  const end = Date.now() + PATIENCE;
  while (!(await jobOf(host, guest, dev)).includes("Block Copy")) {
    if (Date.now() > end || child.exitCode !== null)
      throw new Error(`it does not copy: ${(await ended).said}`);
    await sleep(50);
  }
  return {
    ended,
    // nsenter stays, and its child is the one that converts
    signal: async (signal) => {
      const program = host.command()[1] ?? "";
      // in the host's own process namespace
      await host.libvirt.exec(["pkill", `-${signal.slice(3)}`, "-f", `${program} [a-z]+ ${guest.uuid}`]);
    },
  };
}

/** What libvirt says of the job on the disk; empty without one. */
export async function jobOf(host: LuksmithHost, guest: TestGuest, dev: string): Promise<string> {
  const { stdout } = await host.libvirt.exec(["virsh", "-q", "blockjob", guest.uuid, dev, "--info", "--raw"]);
  return stdout;
}

/** The volume of the disk, in the running guest or in its persistent configuration. */
export async function volumeOf(
  host: LuksmithHost,
  guest: TestGuest,
  dev: string,
  which: "live" | "persistent",
): Promise<string> {
  const xml = await host.libvirt.virsh("dumpxml", ...(which === "live" ? [] : ["--inactive"]), guest.uuid);
  for (const [disk] of xml.matchAll(/<disk .*?<\/disk>/gs))
    if (disk.includes(`<target dev='${dev}'`)) return /<source file='([^']*)'/.exec(disk)?.[1] ?? "";
  return "";
}

/** Ends the guest's QEMU as a crash does, and waits until libvirt knows. */
export async function killQemu(host: LuksmithHost, guest: TestGuest): Promise<void> {
  await host.libvirt.exec(["sh", "-c", `kill -9 $(cat /run/libvirt/qemu/${guest.name}.pid)`]);
  while (await host.isRunning(guest)) await sleep(50);
}

export function onDisk(guest: TestGuest, path: string, format: ImageFormat = "raw"): GuestDisk {
  return { ...guest.disks[0]!, path, format };
}
