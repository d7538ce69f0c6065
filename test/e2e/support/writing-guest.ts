import { execa } from "execa";
import { randomUUID } from "node:crypto";
import { mkdtemp, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import type { Secret } from "../../../src/secret/secret.js";
import { escapeXml } from "../../lab/test-domain.js";
import type { GuestDisk, TestGuest } from "./guests.js";
import type { LuksmithHost } from "./luksmith-host.js";
import { guestBytes } from "./volumes.js";

/** How far the program of a running guest is. */
export interface Progress {
  /** Counted from 1 on a disk that is new, and on from where it was on any other. It may just have begun. */
  readonly round: number;
  /** How many sectors it has written since the first round: so many must be found, wherever the disk is. */
  readonly written: number;
  /** The round that the program began with: one more than what its disk held then. */
  readonly began: number;
  /** It stops at a sector that does not hold what it has written there, or an error of the disk. */
  readonly fault: (typeof FAULTS)[number];
}

/** What a disk holds. */
export interface Writing {
  /** That of the first sector; the program goes on with the next one when the guest starts anew. */
  readonly round: number;
  readonly written: number;
}

const FAULTS = ["none", "stale", "unreadable", "unwritable"] as const;

// what test/e2e/boot/writer.S has as well
const SECTOR = 512;
const SECTORS = 256;
const FIRST = 2048;
const RUNNING = 0x57534b4c;
/** Every sector begins with it: no volume that is encrypted may hold it. */
export const MAGIC = "LUKSMITH-WRITES\n";
const FAULTY = "LUKSMITH-FAULTY\n";

const PROGRAM = fileURLToPath(new URL("../boot/writer.S", import.meta.url));
/** For 32 MiB of memory on a machine that is busy with other tests. */
const PATIENCE = 60_000;

/**
 * Defines a guest whose program writes to the first of its disks for ever, some 300 sectors a second, round after
 * round, and reads each of them again a round later. The program is on a read-only floppy among `host.images`.
 */
export async function defineWriter(
  host: LuksmithHost,
  { disks, devices = "", ...guest }: Omit<TestGuest, "uuid"> & { readonly uuid?: string },
): Promise<TestGuest> {
  const program = join(host.images, `writer-${randomUUID()}.img`);
  await writeFile(program, await assemble());
  await truncate(program, 1440 * 1024);
  const [first, ...others] = disks as [GuestDisk, ...GuestDisk[]];
  const all = [{ ...first, boot: 2 }, ...others];
  return host.define({ ...guest, disks: all, devices: `${devices}${floppyXml(program)}` });
}

function floppyXml(program: string): string {
  return `<disk type='file' device='floppy'>
    <driver name='qemu' type='raw'/>
    <source file='${escapeXml(program)}'/>
    <target dev='fda' bus='fdc'/>
    <readonly/>
    <boot order='1'/>
  </disk>`;
}

async function assemble(): Promise<Buffer> {
  const directory = await mkdtemp(join(tmpdir(), "luksmith-writer-"));
  try {
    const [object, program] = [join(directory, "writer.o"), join(directory, "writer.bin")];
    await execa("as", ["--32", "-o", object, PROGRAM]);
    const form = ["-m", "elf_i386", "-Ttext", "0x7c00", "--oformat", "binary"];
    await execa("ld", [...form, "-o", program, object]);
    return await readFile(program);
  } finally {
    await rm(directory, { recursive: true });
  }
}

/** Out of the guest's memory, wherever it runs; undefined while its firmware has not started the program. */
export async function progressOf(host: LuksmithHost, guest: TestGuest): Promise<Progress | undefined> {
  const command = ["qemu-monitor-command", "--hmp", guest.uuid, "xp /5wx 0x600"];
  const words = await host.libvirt.virsh(...command);
  const [runs, round, sector, fault, began] = [...words.matchAll(/ 0x([0-9a-f]{8})/g)].map(([, word]) =>
    Number.parseInt(word!, 16),
  );
  if (runs !== RUNNING) return undefined;
  return { round: round!, written: writtenIn(round!, sector!), began: began!, fault: FAULTS[fault!]! };
}

/**
 * Waits until the guest has written all of its sectors this many times, and so has read every one of them again, but
 * for those of the round that it began with. @throws if its disk failed it, or if it does not get on
 */
export async function writesOn(
  host: LuksmithHost,
  guest: TestGuest,
  { rounds = 1 }: { readonly rounds?: number } = {},
): Promise<Progress> {
  const end = Date.now() + PATIENCE;
  let first: Progress | undefined;
  for (;;) {
    const now = await progressOf(host, guest);
    if (now !== undefined && now.fault !== "none")
      throw new Error(`the disk of ${guest.name} was ${now.fault} in round ${now.round}`);
    first ??= now;
    // the round in which we came may have been nearly over
    if (now !== undefined && first !== undefined && now.round > first.round + rounds) return now;
    if (Date.now() > end) {
      const state = await host.libvirt.virsh("domstate", "--reason", guest.uuid);
      throw new Error(`${guest.name} does not write: ${JSON.stringify({ first, now, state })}`);
    }
    await sleep(200);
  }
}

/**
 * Decrypts with QEMU what the guest wrote, and checks it: every sector is whole and in its place, and all are of one
 * round, or the later ones still of the round before. The guest must have been through a round since its start.
 * @throws naming the sector that is wrong
 */
export async function checkWriting(disk: GuestDisk, passphrase: Secret): Promise<Writing> {
  const [offset, length] = [(FIRST - 1) * SECTOR, (SECTORS + 1) * SECTOR];
  const bytes = await guestBytes(disk.path, disk.format, passphrase, offset, length);
  if (bytes?.length !== length) throw new Error(`the passphrase does not open ${disk.path}`);
  return checkSectors(bytes);
}

function checkSectors(bytes: Buffer): Writing {
  if (bytes.includes(FAULTY)) throw new Error("the guest has noted an error of its disk");
  const rounds: number[] = [];
  for (let number = 0; number < SECTORS; number++) {
    const sector = bytes.subarray((number + 1) * SECTOR, (number + 2) * SECTOR);
    const round = sector.readUInt32LE(20);
    if (!sector.equals(contentOf(number, round))) throw new Error(`sector ${number} is not what was written`);
    if (round > (rounds.at(-1) ?? round) || round + 1 < (rounds[0] ?? round))
      throw new Error(`sector ${number} is of round ${round}, after ${String(rounds.at(-1))}`);
    rounds.push(round);
  }
  const round = rounds[0]!;
  return { round, written: writtenIn(round, rounds.filter((one) => one === round).length) };
}

/** @param sector that comes next in this round */
function writtenIn(round: number, sector: number): number {
  return (round - 1) * SECTORS + sector;
}

function contentOf(number: number, round: number): Buffer {
  const sector = Buffer.alloc(SECTOR);
  sector.write(MAGIC);
  sector.writeUInt32LE(number, 16);
  sector.writeUInt32LE(round, 20);
  const mixture = ~((round << 16) + number) >>> 0;
  for (let at = 24; at < SECTOR; at += 4) sector.writeUInt32LE(mixture, at);
  return sector;
}
