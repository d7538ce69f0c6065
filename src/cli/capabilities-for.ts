import { readFileSync } from "node:fs";
import type { Container } from "../di.js";
import { askedOnce } from "../encryption/versions.js";
import { EXIT } from "../error/catalogue.js";
import { LuksmithError } from "../error/luksmith-error.js";
import type { CapabilitiesForOutput } from "../generated/capabilities-for.js";
import validate from "../generated/validate-capabilities-for.cjs";
import { guestFromDomainXml } from "../guest-config/domain-guest.js";
import type { Guest } from "../host/host-adapter.js";
import { protectCommand } from "../plan/commands.js";
import { abilityFor, type DiskAbility, type GuestAbility } from "../plan/guest-ability.js";
import { volumeName } from "../storage/volume.js";
import { HOST, KEYRING, PROVIDERS, SETTINGS, STORAGE } from "../tokens.js";
import { print, printJson, printTable } from "./output.js";
import { problemOf } from "../error/problem.js";
import { readStandardInput } from "./standard-input.js";

interface Options {
  readonly withKeys?: true;
  readonly json?: true;
}

/** Answers a scheduler: whether this host could run a guest, which need not be defined here. */
export async function answerForGuest(
  container: Container,
  named: string,
  { withKeys, json }: Options,
): Promise<void> {
  const guest = await guestNamed(container, named);
  const found = await abilityHere(container, guest, withKeys ? "ask keystores" : "no keys");
  const able = found.problems.length === 0;
  if (json) printJson(validate, outputOf(guest, found));
  else show(guest, found);
  if (!able) process.exitCode = EXIT.refused;
}

export async function abilityHere(
  container: Container,
  guest: Guest,
  keys: "ask keystores" | "no keys",
): Promise<GuestAbility> {
  const host = container.resolve(HOST);
  const settings = container.resolve(SETTINGS);
  const providers = container.resolve(PROVIDERS);
  const versions = askedOnce(() => host.versions());
  return await abilityFor(guest, {
    settings,
    storage: container.resolve(STORAGE),
    ability: { providers, versions, legacy: settings.legacy, engine: settings.encryption.engine },
    registration: () => host.registration(),
    ...(keys === "ask keystores" && { keyring: container.resolve(KEYRING) }),
  });
}

/** A libvirt domain has no slash in its name, so that a path cannot be one. */
async function guestNamed(container: Container, named: string): Promise<Guest> {
  const host = container.resolve(HOST);
  if (host.type === "proxmox" && (named === "-" || named.includes("/")))
    throw new LuksmithError("USAGE", {
      what: `cannot tell about ${named === "-" ? "what comes on standard input" : named}`,
      why: "a VM of Proxmox VE is defined by its configuration in /etc/pve alone",
      hint: "name it by its VMID: luksmith capabilities --for 100",
    });
  if (named === "-") {
    const text = { what: "no domain XML", hint: "virsh dumpxml web1 | luksmith capabilities --for -" };
    return guestFromDomainXml(readStandardInput(text).toString());
  }
  if (named.includes("/")) return guestFromDomainXml(readXml(named));
  return await host.readGuest(named);
}

function readXml(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (thrown) {
    throw new LuksmithError("USAGE", {
      what: `cannot read the domain XML ${path}`,
      why: thrown instanceof Error ? thrown.message : String(thrown),
      hint: "a guest of this host is named without a slash",
      cause: thrown,
    });
  }
}

function outputOf({ id, name }: Guest, { requires, disks, problems }: GuestAbility): CapabilitiesForOutput {
  return {
    guest: { id, name },
    able: problems.length === 0,
    requires: [...requires],
    disks: disks.map(diskOf),
    problems: problems.map(problemOf),
  };
}

function diskOf(found: DiskAbility): CapabilitiesForOutput["disks"][number] {
  const { disk, request, traits, format, provider, backend, key, keystore } = found;
  const { encryption_secret_uuid: uuid } = disk;
  return {
    device: disk.dev,
    volume: volumeName(disk.volume),
    askedBy: [...(request?.askedBy ?? [])],
    annotated: uuid !== undefined,
    traits: [...traits],
    ...(format && { format }),
    ...(provider && { provider }),
    ...(backend && { backend }),
    ...(request && { profile: request.profile }),
    ...(keystore && { keystore }),
    ...(uuid && { key: uuid }),
    ...(key && { keyState: key }),
  };
}

function show(guest: Guest, { requires, disks, problems }: GuestAbility): void {
  const { name } = guest;
  print(`${name} ${problems.length === 0 ? "can" : "cannot"} run on this host`);
  if (requires.length > 0) print(`it requires: ${requires.join(", ")}`);
  if (disks.length > 0) {
    print("");
    printTable(["disk", "format", "engine", "backend", "keystore", "key", "volume"], disks.map(rowOf));
  }
  for (const { message, why, hint } of problems) {
    print(`\n${message}`);
    if (why !== undefined) print(`cause: ${why}`);
    if (hint !== undefined) print(`hint: ${hint}`);
  }
  const bare = disks.filter(({ disk, request }) => request && disk.encryption_secret_uuid === undefined);
  if (problems.length > 0 || bare.length === 0) return;
  const devs = bare.map(({ disk }) => disk.dev);
  print(`\nbefore it starts: ${protectCommand(guest, devs)}`);
}

function rowOf({ disk, format, provider, backend, key, keystore }: DiskAbility): string[] {
  const uuid = disk.encryption_secret_uuid;
  const keyText = uuid === undefined ? "" : key === undefined ? uuid : `${uuid} ${key}`;
  return [
    ...[disk.dev, format ?? "plaintext", provider ?? "", backend ?? "", keystore ?? "", keyText],
    volumeName(disk.volume),
  ];
}
