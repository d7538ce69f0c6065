import { randomBytes } from "node:crypto";
import { closeSync, openSync, readFileSync, readSync, writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import type { TestGuest } from "./guests.js";
import { type Call, killPoints, runAndKill, someOf } from "./killed.js";
import { digestInLuks, digestOf, sizeOf } from "./legacy-volumes.js";
import { leftoversOf } from "./leftovers.js";
import type { LuksmithHost } from "./luksmith-host.js";
import { guestOn } from "./mapped.js";
import { keep, kept, pathOf, runBoots } from "./power-cut-host.js";
import { MIB, opensWith } from "./volumes.js";

/**
 * The power goes in the middle of what changes a disk that holds data. The boot after that has the same command finish,
 * and notes what it saw.
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

const SIZE = 12 * MIB;
/** Slow enough that the power goes in the middle of it. */
const RATE = "2M";
/** Which of all calls of a rotation the power goes at, of so many. */
const [ROTATIONS, OF] = [3, 4];

/** What is cut short, one a boot. */
const WORKS = ["encrypt", "decrypt", ...Array.from({ length: ROTATIONS }, (_, index) => index)] as const;

/** The number of times that the power goes. */
export const CUTS = WORKS.length;

// not where only the types are wanted
if (process.argv[1]?.endsWith("power-cut-life-machine.mjs"))
  await runBoots({
    volumes: { moved: SIZE, rotated: SIZE },
    cuts: CUTS,
    prepare,
    cut: (host, index) => cut(host, WORKS[index]!),
    recover: (host, index) => recover(host, WORKS[index]!),
  });

/** Finds where a kill tells something, by a rotation that nobody cuts short. */
async function prepare(host: LuksmithHost): Promise<void> {
  const guests: Record<string, TestGuest> = {};
  const digests: Record<string, string> = {};
  for (const name of ["moved", "rotated"]) {
    writeFileSync(pathOf(name), randomBytes(SIZE), { flush: true });
    guests[name] = await guestOn(host, name, pathOf(name));
    digests[name] = digestOf(pathOf(name), SIZE);
  }
  await host.must("protect", "rotated", "--convert", "--in-place");
  const points = await killPoints(host, { argv: host.command("rotate", "rotated") });
  keep("points", someOf(points, OF).slice(0, ROTATIONS));
  keep("guests", guests);
  keep("digests", digests);
}

type Work = (typeof WORKS)[number];

async function cut(host: LuksmithHost, what: Work): Promise<void> {
  if (typeof what === "number") {
    await runAndKill(host, { argv: argvOf(host, what) }, (kept("points") as Call[])[what]!);
  } else {
    const middle = what === "encrypt" ? 8 * MIB : 4 * MIB;
    const before = at("moved", middle);
    const running = host.libvirt.exec([...argvOf(host, what), "--rate", RATE]);
    const ended = running.then(({ stderr }) => Promise.reject(new Error(`it has ended: ${stderr}`)));
    while (at("moved", middle).equals(before)) await Promise.race([sleep(20), ended]);
  }
}

async function recover(host: LuksmithHost, what: Work): Promise<Facts> {
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

function argvOf(host: LuksmithHost, what: Work): string[] {
  if (what === "encrypt") return host.command("protect", nameOf(what), "--convert", "--in-place");
  if (what === "decrypt") return host.command("unprotect", nameOf(what), "--yes", "--in-place");
  return host.command("rotate", nameOf(what));
}

function nameOf(what: Work): string {
  return typeof what === "number" ? "rotated" : "moved";
}

function at(name: string, offset: number): Buffer {
  const bytes = Buffer.alloc(512);
  if (offset >= sizeOf(pathOf(name))) return bytes;
  const fd = openSync(pathOf(name), "r");
  readSync(fd, bytes, 0, bytes.length, offset);
  closeSync(fd);
  return bytes;
}
