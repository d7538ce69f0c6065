import { execFileSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { closeSync, existsSync, fsyncSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { lvm, VolumeGroup } from "../../lab/volume-group.js";
import { RESULTS } from "../../lab/uml.js";
import type { TestGuest } from "./guests.js";
import { inGuest } from "./in-guest.js";
import { type Call, killPoints, runAndKill, someOf } from "./killed.js";
import { type Leftovers, leftoversOf } from "./leftovers.js";
import { LuksmithHost } from "./luksmith-host.js";
import { guestOn, mappedDisks } from "./mapped.js";
import { luksUuidOf, MIB } from "./volumes.js";

/**
 * `power-cut-machine.ts BOOT`, in User-Mode Linux with two disks: what the host keeps, and a physical volume. Each boot
 * but the first has `protect` finish what the boot before was cut short in, starts that guest, and notes what it saw;
 * each but the last has `protect` begin with another guest, and dies in the middle of it.
 */
export interface Facts {
  /** At which call the power went. */
  readonly cutAt: string;
  /** Whether bytes are there that were written just before that, and not synchronized. */
  readonly unsyncedIsThere: boolean;
  /** What `protect` says when it is run again. */
  readonly exitCode: number;
  readonly stderr: string;
  readonly key: string;
  readonly header: string | undefined;
  /** Of all the keys that the keystore lists. */
  readonly states: readonly string[];
  readonly wrote: string;
  readonly otherIsUnchanged: boolean;
  /** After the guest has stopped. */
  readonly left: Leftovers;
}

/** The number of times that the power goes. */
export const CUTS = 4;

const STATE = "/mnt";
const GROUP = "cut";
const NAMES = Array.from({ length: CUTS + 1 }, (_, index) => `web${index}`);

// not where only the types are wanted
if (process.argv[1]?.endsWith("power-cut-machine.ts")) await run(Number(process.argv[2]));

async function run(boot: number): Promise<void> {
  if (boot === 0) makeDisks();
  else bringUp();
  await using host = await LuksmithHost.start({ state: STATE });
  if (boot === 0) await prepare(host);
  else keep(`facts-${boot}`, await recover(host, boot));
  if (boot === CUTS) {
    const all = NAMES.slice(1).map((_, index) => kept(`facts-${index + 1}`));
    writeFileSync(join(RESULTS, "facts"), JSON.stringify(all));
  } else {
    await cut(host, boot + 1);
  }
}

function makeDisks(): void {
  execFileSync("mkfs.ext4", ["-q", "/dev/ubda"]);
  execFileSync("mount", ["/dev/ubda", STATE]);
  const group = new VolumeGroup({ name: GROUP, device: "/dev/ubdb" });
  for (const name of [...NAMES, "other"]) group.create(name, 16 * MIB);
  writeFileSync(pathOf("other"), randomBytes(16 * MIB));
  execFileSync("sync");
}

function bringUp(): void {
  execFileSync("mount", ["/dev/ubda", STATE]);
  lvm("vgchange", "--quiet", "--activate", "y", GROUP);
}

/** Finds where a kill tells something, by one that nobody cuts short. */
async function prepare(host: LuksmithHost): Promise<void> {
  const guests = [];
  for (const name of NAMES) guests.push(await guestOn(host, name, pathOf(name)));
  const points = await killPoints(host, protect(host, NAMES[0]!));
  keep("guests", guests);
  keep("points", someOf(points, CUTS + 1).slice(0, CUTS));
  keep("other", digestOf("other"));
}

async function cut(host: LuksmithHost, number: number): Promise<void> {
  const point = (kept("points") as Call[])[number - 1]!;
  await runAndKill(host, protect(host, NAMES[number]!), point);
  writeFileSync(unsyncedFile(number), "x");
  writeFileSync("/proc/sysrq-trigger", "c");
}

async function recover(host: LuksmithHost, number: number): Promise<Facts> {
  const [guest, point] = [(kept("guests") as TestGuest[])[number]!, (kept("points") as Call[])[number - 1]!];
  const again = protect(host, guest.name).argv;
  // the guest's start formats what protect has not
  const { exitCode, stderr } = await host.libvirt.exec(number % 2 === 0 ? again.slice(0, -1) : again);
  const { vda } = await mappedDisks(host, guest);
  await host.start(guest);
  await inGuest(host, guest, 0, "write -P 0x5a 1M 64k");
  const wrote = await inGuest(host, guest, 0, "read -P 0x5a 1M 64k");
  await host.stop(guest);
  const keys = await host.keystore().list();
  for (const { uuid } of keys) (await host.key(uuid)).passphrase.dispose();
  return {
    ...{ cutAt: `${point.name} number ${point.n}`, exitCode, stderr, wrote },
    unsyncedIsThere: existsSync(unsyncedFile(number)) && readFileSync(unsyncedFile(number)).length > 0,
    key: vda?.secret ?? "none",
    header: await luksUuidOf(pathOf(guest.name), "raw"),
    states: keys.map(({ state }) => state),
    otherIsUnchanged: digestOf("other") === kept("other"),
    left: await leftoversOf(host),
  };
}

function unsyncedFile(number: number): string {
  return join(STATE, `unsynced-${number}`);
}

function protect(host: LuksmithHost, name: string) {
  return { argv: host.command("protect", name, "--engine", "dm-crypt", "--now") };
}

function pathOf(name: string): string {
  return `/dev/${GROUP}/${name}`;
}

function digestOf(name: string): string {
  return createHash("sha256")
    .update(readFileSync(pathOf(name)))
    .digest("hex");
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
