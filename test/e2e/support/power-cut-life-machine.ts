import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { closeSync, fsyncSync, openSync, readFileSync, readSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { lvm, VolumeGroup } from "../../lab/volume-group.js";
import { RESULTS } from "../../lab/uml.js";
import type { TestGuest } from "./guests.js";
import { type Call, killPoints, runAndKill, someOf } from "./killed.js";
import { digestInLuks, digestOf, sizeOf } from "./legacy-volumes.js";
import { leftoversOf } from "./leftovers.js";
import { LuksmithHost } from "./luksmith-host.js";
import { guestOn } from "./mapped.js";
import { MIB, opensWith } from "./volumes.js";

/**
 * `power-cut-life-machine.ts BOOT`, in User-Mode Linux with two disks: what the host keeps, and a physical volume. Each
 * boot but the first has the same command finish what the boot before was cut short in, and notes what it saw; each but
 * the last dies in the middle of the next one.
 */
export interface Facts {
  /** Of the guest's start before the command is run again: undefined where that is not refused. */
  readonly refused: boolean;
  /** Whether the key that the keystore has opens the volume before the command is run again. */
  readonly opened: boolean;
  /** What the command says when it is run again. */
  readonly exitCode: number;
  readonly stderr: string;
  /** Whether the guest's bytes are what they were. */
  readonly isSame: boolean;
  /** Of the record: that something has not ended. */
  readonly unfinished: readonly string[];
  readonly generation: number | undefined;
  readonly left: readonly string[];
}

const STATE = "/mnt";
const GROUP = "cut";
const SIZE = 12 * MIB;
/** Slow enough that the power goes in the middle of it. */
const RATE = "2M";
/** Which of all calls of a rotation the power goes at, of so many. */
const [ROTATIONS, OF] = [3, 4];

/** What is cut short, one a boot. */
const CUTS = ["encrypt", "decrypt", ...Array.from({ length: ROTATIONS }, (_, index) => index)] as const;

/** The number of times that the power goes. */
export const TIMES = CUTS.length;

// not where only the types are wanted
if (process.argv[1]?.endsWith("power-cut-life-machine.ts")) await run(Number(process.argv[2]));

async function run(boot: number): Promise<void> {
  if (boot === 0) makeDisks();
  else bringUp();
  await using host = await LuksmithHost.start({ state: STATE });
  if (boot === 0) await prepare(host);
  else keep(`facts-${boot}`, await recover(host, CUTS[boot - 1]!));
  const next = CUTS[boot];
  if (next === undefined) {
    const all = CUTS.map((_, index) => kept(`facts-${index + 1}`));
    writeFileSync(join(RESULTS, "facts"), JSON.stringify(all));
  } else {
    await cut(host, next);
  }
}

function makeDisks(): void {
  execFileSync("mkfs.ext4", ["-q", "/dev/ubda"]);
  execFileSync("mount", ["/dev/ubda", STATE]);
  const group = new VolumeGroup({ name: GROUP, device: "/dev/ubdb" });
  for (const name of ["moved", "rotated"]) {
    group.create(name, SIZE);
    writeFileSync(pathOf(name), randomBytes(SIZE), { flush: true });
  }
}

function bringUp(): void {
  execFileSync("mount", ["/dev/ubda", STATE]);
  lvm("vgchange", "--quiet", "--activate", "y", GROUP);
}

/** Finds where a kill tells something, by a rotation that nobody cuts short. */
async function prepare(host: LuksmithHost): Promise<void> {
  const guests: Record<string, TestGuest> = {};
  const digests: Record<string, string> = {};
  for (const name of ["moved", "rotated"]) {
    guests[name] = await guestOn(host, name, pathOf(name));
    digests[name] = digestOf(pathOf(name), SIZE);
  }
  await host.must("protect", "rotated", "--convert", "--in-place");
  const points = await killPoints(host, { argv: host.command("rotate", "rotated") });
  keep("points", someOf(points, OF).slice(0, ROTATIONS));
  keep("guests", guests);
  keep("digests", digests);
}

type Cut = (typeof CUTS)[number];

async function cut(host: LuksmithHost, what: Cut): Promise<void> {
  if (typeof what === "number") {
    await runAndKill(host, { argv: argvOf(host, what) }, (kept("points") as Call[])[what]!);
  } else {
    const middle = what === "encrypt" ? 8 * MIB : 4 * MIB;
    const before = at("moved", middle);
    const running = host.libvirt.exec([...argvOf(host, what), "--rate", RATE]);
    const ended = running.then(({ stderr }) => Promise.reject(new Error(`it has ended: ${stderr}`)));
    while (at("moved", middle).equals(before)) await Promise.race([sleep(20), ended]);
  }
  writeFileSync("/proc/sysrq-trigger", "c");
}

async function recover(host: LuksmithHost, what: Cut): Promise<Facts> {
  const name = nameOf(what);
  const guest = (kept("guests") as Record<string, TestGuest>)[name]!;
  const isMoved = typeof what !== "number";
  const opened = isMoved || (await opens(host, guest));
  const start = isMoved && (await host.libvirt.exec(["virsh", "-c", "qemu:///system", "start", guest.uuid]));
  const { exitCode, stderr } = await host.libvirt.exec(argvOf(host, what));
  const [record] = (await host.keystore().list()).filter(
    (one) => one.guest.id === guest.uuid && one.state === "active",
  );
  const digest = (kept("digests") as Record<string, string>)[name];
  const facts = {
    refused:
      start !== false &&
      start.exitCode !== 0 &&
      // not line by line: the end of it may be zeros since the power cut
      readFileSync(host.inside("/var/log/luksmith/luksmith.log"), "utf8").includes("CONVERSION_UNFINISHED"),
    ...{ opened, exitCode, stderr: stderr.replaceAll(/^.*\d+ %.*\n?/gm, "") },
    isSame: digest === (what === "decrypt" ? digestOf(pathOf(name), SIZE) : await digestSeen(host, guest)),
    unfinished: ["conversion", "rotation"].filter((field) => record !== undefined && field in record),
    generation: record?.generation,
  };
  if (what !== "decrypt") {
    await host.start(guest);
    await host.stop(guest);
  }
  return { ...facts, left: Object.values(await leftoversOf(host)).flat() };
}

async function opens(host: LuksmithHost, guest: TestGuest): Promise<boolean> {
  const { vda } = await host.blocks(guest);
  using passphrase = (await host.key(vda)).passphrase;
  return await opensWith(pathOf(guest.name), "raw", passphrase);
}

async function digestSeen(host: LuksmithHost, guest: TestGuest): Promise<string> {
  const { vda } = await host.blocks(guest);
  using passphrase = (await host.key(vda)).passphrase;
  return digestInLuks(pathOf(guest.name), passphrase, SIZE, host.libvirt.dir);
}

function argvOf(host: LuksmithHost, what: Cut): string[] {
  if (what === "encrypt") return host.command("protect", nameOf(what), "--convert", "--in-place");
  if (what === "decrypt") return host.command("unprotect", nameOf(what), "--yes", "--in-place");
  return host.command("rotate", nameOf(what));
}

function nameOf(what: Cut): string {
  return typeof what === "number" ? "rotated" : "moved";
}

function pathOf(name: string): string {
  return `/dev/${GROUP}/${name}`;
}

function at(name: string, offset: number): Buffer {
  const bytes = Buffer.alloc(512);
  if (offset >= sizeOf(pathOf(name))) return bytes;
  const fd = openSync(pathOf(name), "r");
  readSync(fd, bytes, 0, bytes.length, offset);
  closeSync(fd);
  return bytes;
}

function keep(name: string, value: unknown): void {
  const fd = openSync(join(STATE, name), "w");
  writeFileSync(fd, JSON.stringify(value));
  fsyncSync(fd);
  closeSync(fd);
}

function kept(name: string): unknown {
  return JSON.parse(readFileSync(join(STATE, name), "utf8"));
}
