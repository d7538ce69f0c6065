import { lstatSync, readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseUsage } from "../../../src/host/libvirt/secret-usage.js";
import { ARRIVALS_DIRECTORY } from "../../../src/migration/arrivals.js";
import { kernelMappings, loopDevices } from "./kernel-devices.js";
import type { LuksmithHost } from "./luksmith-host.js";

/** Where a passphrase could end up in clear: every directory that libvirt and Luksmith write to. */
const WRITTEN = [
  "/run",
  "/etc/libvirt",
  "/etc/luksmith",
  "/var/lib/libvirt",
  "/var/lib/luksmith",
  "/var/cache/libvirt",
  "/var/log/libvirt",
  "/var/log/luksmith",
];

/** Programs that Luksmith starts, and nobody else on a test's host. */
const PROGRAMS: ReadonlySet<string> = new Set([
  "cryptsetup",
  "dmsetup",
  "flock",
  "losetup",
  "qemu-img",
  "qemu-io",
]);

/** Milliseconds. */
const PATIENCE = 20_000;

const CLAIMS = "/run/luksmith/mappings";

/** The machine's own. */
const MAPPINGS_BEFORE: ReadonlySet<string> = new Set(kernelMappings().map(({ name }) => name));

/** By what it is. */
export type Leftovers = Readonly<Record<string, readonly string[]>>;

/**
 * What must not be there after whatever happened: of a guest that does not run a host secret of ours, a mapping, a
 * claim, a loop device or a note that it arrives; a domain that only asked another host; a process of ours, a file of
 * a step that was cut short, a passphrase in any file, command line or environment.
 * @param keepers hosts whose passphrases could be here: the host itself, and those that it has guests from
 */
export async function leftoversOf(
  host: LuksmithHost,
  keepers: readonly LuksmithHost[] = [host],
): Promise<Leftovers> {
  const { running } = await host.guests();
  const claimed = claimsOf(host).filter(({ guest }) => running.includes(guest));
  return {
    "host secrets of guests that do not run": await secretsOfStoppedGuests(host, running),
    "mappings of guests that do not run": mappingsBut(claimed),
    "loop devices of guests that do not run": loopsBut(claimed, host),
    "files in /run/luksmith that are no empty lock": runtimeFilesBut(claimed, host),
    "notes of guests that do not arrive": arrivalsBut(running, host),
    "domains of a check before a migration": await probes(host),
    "temporary files": temporaryFiles(host),
    "processes of Luksmith": processes(host),
    "places that hold a passphrase in clear": await placesWithPassphrases(host, keepers),
  };
}

/** That a mapping is open, and for which guest. */
interface Claim {
  readonly mapping: string;
  /** Its UUID. */
  readonly guest: string;
}

async function secretsOfStoppedGuests(host: LuksmithHost, running: readonly string[]): Promise<string[]> {
  const secrets = await host.libvirt.virsh("secret-list");
  return secrets.split("\n").filter((line) => {
    const usage = /\svolume\s+(.*\S)/.exec(line)?.[1];
    const ours = usage === undefined ? undefined : parseUsage(usage);
    return ours !== undefined && !running.includes(ours.guestId);
  });
}

function claimsOf(host: LuksmithHost): Claim[] {
  return filesBelow(host.inside(CLAIMS)).flatMap((path) => {
    const guest = /"guest":\{"id":"([^"]+)"/.exec(readIfThere(path).toString())?.[1];
    return guest === undefined ? [] : [{ mapping: basename(path), guest }];
  });
}

/** Logical volumes are mappings as well, and a test's own. */
function mappingsBut(claimed: readonly Claim[]): string[] {
  const allowed = new Set(claimed.map(({ mapping }) => mapping));
  return kernelMappings()
    .filter(({ name, uuid }) => !uuid.startsWith("LVM-") && !MAPPINGS_BEFORE.has(name) && !allowed.has(name))
    .map(({ name }) => name);
}

function loopsBut(claimed: readonly Claim[], { libvirt, images }: LuksmithHost): string[] {
  const open = kernelMappings().filter(({ name }) => claimed.some(({ mapping }) => mapping === name));
  const allowed = new Set(open.flatMap(({ lies }) => lies));
  return loopDevices()
    .filter(
      ({ name, file }) => !allowed.has(name) && [images, libvirt.dir].some((dir) => file.startsWith(dir)),
    )
    .map(({ file }) => file);
}

function runtimeFilesBut(claimed: readonly Claim[], host: LuksmithHost): string[] {
  const allowed = new Set(claimed.map(({ mapping }) => host.inside(join(CLAIMS, mapping))));
  return filesBelow(host.inside("/run/luksmith")).filter(
    (path) => !allowed.has(path) && (!path.includes("/run/luksmith/lock/") || lstatSync(path).size > 0),
  );
}

/** The file of a note names its guest. */
function arrivalsBut(running: readonly string[], host: LuksmithHost): string[] {
  return filesBelow(host.inside(ARRIVALS_DIRECTORY)).filter(
    (path) => !running.some((uuid) => `${basename(path)} ${readIfThere(path).toString()}`.includes(uuid)),
  );
}

async function probes({ libvirt }: LuksmithHost): Promise<string[]> {
  const names = (await libvirt.virsh("list", "--all", "--name")).split("\n");
  return names.filter((name) => name.startsWith("luksmith-check-"));
}

/** What hooks have left behind on purpose to finish their work; it ends soon after the guest has arrived or stopped. */
export function leftBehind(host: LuksmithHost): string[] {
  return processes(host).filter((argv) => /luksmith\.js (?:settle|reap) /.test(argv));
}

/** Waits for that. @throws naming what is still at work when libvirtd must have answered it long ago */
export async function nobodyAtWork(host: LuksmithHost): Promise<void> {
  const end = Date.now() + PATIENCE;
  for (let left = leftBehind(host); left.length > 0; left = leftBehind(host)) {
    if (Date.now() > end) throw new Error(`still at work: ${left.join(", ")}`);
    await sleep(50);
  }
}

/** A hook or command that hangs, or a program that it started. */
function processes(host: LuksmithHost): string[] {
  return pids(host)
    .map((pid) =>
      readIfThere(host.inside(join("/proc", pid, "cmdline")))
        .toString()
        .split("\0"),
    )
    .filter(([program = "", script = ""]) => {
      return PROGRAMS.has(basename(program)) || script.startsWith(`${host.pluginRoot}/`);
    })
    .map((argv) => argv.join(" "));
}

function temporaryFiles(host: LuksmithHost): string[] {
  const places = [
    host.images,
    ...["/var/lib/luksmith", "/etc/luksmith", "/etc/libvirt", "/var/lib/libvirt/images"].map((p) =>
      host.inside(p),
    ),
  ];
  return places.flatMap(filesBelow).filter((path) => /\.tmp$|^\.luksmith/.test(basename(path)));
}

async function placesWithPassphrases(
  host: LuksmithHost,
  keepers: readonly LuksmithHost[],
): Promise<string[]> {
  const passphrases = (await Promise.all(keepers.map(storedPassphrases))).flat();
  const files = [host.images, ...WRITTEN.map((path) => host.inside(path))].flatMap(filesBelow);
  const memory = pids(host).flatMap((pid) =>
    ["cmdline", "environ"].map((file) => host.inside(join("/proc", pid, file))),
  );
  return [...files, ...memory].filter((path) => {
    const bytes = readIfThere(path);
    return passphrases.some((passphrase) => bytes.includes(passphrase));
  });
}

/** Of a keystore that a test has broken, those that can still be read. */
async function storedPassphrases(host: LuksmithHost): Promise<Buffer[]> {
  const keystore = host.keystore();
  const passphrases: Buffer[] = [];
  for (const { uuid } of await keystore.list().catch(() => [])) {
    const key = await host.key(uuid).catch(() => undefined);
    if (key === undefined) continue;
    using passphrase = key.passphrase;
    passphrases.push(passphrase.use((bytes) => Buffer.from(bytes)));
  }
  return passphrases;
}

function pids(host: LuksmithHost): string[] {
  return readdirSync(host.inside("/proc")).filter((name) => /^[0-9]+$/.test(name));
}

/** Processes end and sockets are no files, while we look. */
function readIfThere(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch {
    return Buffer.alloc(0);
  }
}

function filesBelow(directory: string): string[] {
  if (lstatSync(directory, { throwIfNoEntry: false }) === undefined) return [];
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}
