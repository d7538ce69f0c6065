import { lstatSync, readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { expect } from "vitest";
import { parseUsage } from "../../../src/host/libvirt/secret-usage.js";
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

/** The machine's own. */
const MAPPINGS_BEFORE = mappings();

/**
 * What must be true after whatever happened: no host secret of ours for a guest that does not run, no mapping, no
 * file of a step that was cut short, no passphrase in any file, command line or environment.
 */
export async function expectNothingLeft(host: LuksmithHost): Promise<void> {
  expect(await secretsOfStoppedGuests(host), "host secrets of guests that do not run").toEqual([]);
  expect(mappings(), "mappings").toEqual(MAPPINGS_BEFORE);
  expect(runtimeFiles(host), "files in /run/luksmith that are no empty lock").toEqual([]);
  expect(temporaryFiles(host), "temporary files").toEqual([]);
  expect(await placesWithPassphrases(host), "places that hold a passphrase in clear").toEqual([]);
}

async function secretsOfStoppedGuests(host: LuksmithHost): Promise<string[]> {
  const { running } = await host.guests();
  const secrets = await host.libvirt.virsh("secret-list");
  return secrets.split("\n").filter((line) => {
    const usage = /\svolume\s+(.*\S)/.exec(line)?.[1];
    const ours = usage === undefined ? undefined : parseUsage(usage);
    return ours !== undefined && !running.includes(ours.guestId);
  });
}

function mappings(): string[] {
  return lstatSync("/dev/mapper", { throwIfNoEntry: false }) ? readdirSync("/dev/mapper").sort() : [];
}

function runtimeFiles(host: LuksmithHost): string[] {
  return filesBelow(host.inside("/run/luksmith")).filter(
    (path) => !path.includes("/run/luksmith/lock/") || lstatSync(path).size > 0,
  );
}

function temporaryFiles(host: LuksmithHost): string[] {
  const places = [
    host.images,
    ...["/var/lib/luksmith", "/etc/luksmith", "/etc/libvirt"].map((p) => host.inside(p)),
  ];
  return places.flatMap(filesBelow).filter((path) => /\.tmp$|^\.luksmith/.test(basename(path)));
}

async function placesWithPassphrases(host: LuksmithHost): Promise<string[]> {
  const passphrases = await storedPassphrases(host);
  const files = [host.images, ...WRITTEN.map((path) => host.inside(path))].flatMap(filesBelow);
  const processes = readdirSync(host.inside("/proc"))
    .filter((name) => /^[0-9]+$/.test(name))
    .flatMap((pid) => ["cmdline", "environ"].map((file) => host.inside(join("/proc", pid, file))));
  return [...files, ...processes].filter((path) => {
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
