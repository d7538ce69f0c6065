import { randomUUID } from "node:crypto";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { shellWord } from "../../error/shell-word.js";
import { ifThere } from "../../fs/if-there.js";
import { dataPlacesOfDomain } from "../../guest-config/data-places.js";
import { DUMPS } from "../../guest-config/data-places-of-memory.js";
import { dataPlacesOfBackup, dataPlacesOfSnapshot } from "../../guest-config/data-places-of-snapshots.js";
import type { DataPlace } from "../data-place.js";
import type { ConfiguredGuest } from "../host-adapter.js";
import { volumeName } from "../../storage/volume.js";
import { swapPlaces } from "../host-swap.js";
import { mediumLabel } from "../medium-label.js";
import { asFound } from "./found-places.js";
import { savedMemory } from "./saved-memory.js";
import type { Virsh } from "./virsh.js";

/** What a snapshot, a backup job, the running guest add to what the persistent configuration says. */
interface Told {
  readonly snapshots: readonly string[];
  readonly live: string;
  readonly backup: string;
  readonly problem: string | undefined;
}

/** Where data of libvirt's domains are besides their disks. */
export class LibvirtDataPlaces {
  constructor(private readonly virsh: Virsh) {}

  /** As HostAdapter has it. @throws HOST_UNAVAILABLE */
  async of(guest: ConfiguredGuest): Promise<DataPlace[]> {
    const told = await this.#ask(guest);
    const places = [
      ...dataPlacesOfDomain(guest.configuration, { ...guest, definition: "persistent" }, mediumLabel),
      ...(told.live === ""
        ? []
        : dataPlacesOfDomain(told.live, { ...guest, definition: "live" }, mediumLabel)),
      ...savedPlaces(guest),
      ...(await this.#snapshots(guest, told.snapshots)),
      ...(told.backup === "" ? [] : dataPlacesOfBackup(told.backup)),
      ...dumps(guest),
      ...hostSecrets(guest),
      ...swapPlaces(),
      ...(told.problem === undefined ? [] : [untold(told.problem)]),
    ];
    return distinct(places.map((place) => asFound(place)));
  }

  /** One process: a running guest can have other disks than its persistent configuration, and jobs that copy them. */
  async #ask({ id, running }: ConfiguredGuest): Promise<Told> {
    const mark = randomUUID();
    const between = ["echo", mark];
    const live = running ? [["dumpxml", "--domain", id], between, ["backup-dumpxml", "--domain", id]] : [];
    const { stdout, errors } = await this.virsh.run(
      ["snapshot-list", "--domain", id, "--name"],
      between,
      ...live,
    );
    const [names = "", xml = "", backup = ""] = stdout.split(mark);
    return {
      snapshots: names.split("\n").filter((name) => name !== ""),
      live: xml.trim(),
      backup: backup.trim(),
      // a guest without a backup job is an error to virsh, and so is one that has just stopped
      problem: errors.find((error) => !/backup job|domain is not running/.test(error)),
    };
  }

  async #snapshots({ id, disks }: ConfiguredGuest, names: readonly string[]): Promise<DataPlace[]> {
    if (names.length === 0) return [];
    const mark = randomUUID();
    const { stdout, errors } = await this.virsh.run(
      ...names.flatMap((name) => [
        ["snapshot-dumpxml", "--domain", id, "--snapshotname", { text: name }],
        ["echo", mark],
      ]),
    );
    const xmls = stdout.split(mark).filter((xml) => xml.trim() !== "");
    const encrypted = new Set(
      Object.values(disks.mapping).flatMap(({ volume, ...disk }) =>
        disk.encrypted ? volumeName(volume) : [],
      ),
    );
    // a snapshot goes on naming files that were merged and deleted, or encrypted, meanwhile
    const isOver = ({ kind, where = "" }: DataPlace) =>
      kind === "disk" && (encrypted.has(where) || (where.startsWith("/") && !existsSync(where)));
    const named = xmls.flatMap((xml) => dataPlacesOfSnapshot(xml.trim(), { id }, disks));
    const places = named.filter((place) => !isOver(place));
    return errors[0] === undefined ? places : [...places, untold(errors[0])];
  }
}

function untold(problem: string): DataPlace {
  const detail = `libvirt did not tell everything about the guest: ${problem}`;
  return { kind: "unknown", protection: "possible", detail };
}

function savedPlaces(guest: ConfiguredGuest): DataPlace[] {
  const where = savedMemory(guest);
  const what = "what the guest had in memory, files that it had read among it";
  if (where === undefined && !guest.saved) {
    const detail = `nothing now; virsh managedsave, and a shutdown of the host that suspends guests, write ${what}`;
    const hint = `"savedMemory": "refuse" in the settings keeps it from being resumed; luksmith doctor tells what a shutdown of the host does`;
    return [{ kind: "saved-memory", protection: "possible", detail, hint }];
  }
  const hint = `resume the guest and shut it down, or discard it: virsh managedsave-remove ${shellWord(guest.id)}`;
  return [{ kind: "saved-memory", ...(where && { where }), protection: "plaintext", detail: what, hint }];
}

/** Their names begin with the number that the domain ran under, and the first 20 characters of its name. */
function dumps({ name }: ConfiguredGuest): DataPlace[] {
  const start = Array.from(name).slice(0, 20).join("");
  const files = ifThere(() => readdirSync(DUMPS)) ?? [];
  return files
    .filter((file) => /^-?\d+-(.*)-\d{4}-\d\d-\d\d-\d\d:\d\d:\d\d$/s.exec(file)?.[1] === start)
    .map((file) => ({
      kind: "core-dump",
      where: join(DUMPS, file),
      protection: "plaintext",
      detail: "the guest's memory when it crashed",
      hint: "delete it once it has been looked into",
    }));
}

/** docs/libvirt.md, "Passphrases on the host". */
function hostSecrets({ running, disks }: ConfiguredGuest): DataPlace[] {
  const isNative = Object.values(disks.mapping).some(
    ({ encrypted, mapping, backingSecretUuids }) =>
      (encrypted && mapping === undefined) || backingSecretUuids !== undefined,
  );
  if (!running || !isNative) return [];
  return [
    {
      kind: "host-secrets",
      where: "/var/lib/libvirt/qemu",
      protection: "possible",
      detail: "keys below it open the passphrases that libvirt wrote, encrypted, to /var/log/libvirt/qemu",
      hint: "keep the host's own file systems on encrypted devices",
    },
  ];
}

/** The persistent and the running configuration name most places both; of two, the one that says more counts. */
function distinct(places: readonly DataPlace[]): DataPlace[] {
  const worst = ["plaintext", "encrypted", "possible"];
  const found = new Map<string, DataPlace>();
  for (const place of places) {
    const key = JSON.stringify([place.kind, place.where ?? place.detail]);
    const other = found.get(key);
    const isWorse = other && worst.indexOf(place.protection) < worst.indexOf(other.protection);
    if (other === undefined || isWorse) found.set(key, place);
  }
  return [...found.values()];
}
