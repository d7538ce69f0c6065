import { Command } from "commander";
import type { Container } from "../di.js";
import { asLuksmithError } from "../error/luksmith-error.js";
import type { StatusOutput } from "../generated/status.js";
import validate from "../generated/validate-status.cjs";
import type { ConfiguredGuest, Guest } from "../host/host-adapter.js";
import { formatBytes } from "../plan/bytes.js";
import type { DiskFacts } from "../plan/facts.js";
import { withFittingLegacy } from "../plan/fitting-legacy.js";
import { gatherFacts } from "../plan/gather.js";
import { KeySession } from "../plan/key-session.js";
import { canBePlain } from "../plan/volume-content.js";
import type { EncryptionRequest } from "../request/ask.js";
import { resolveRequests } from "../request/resolve.js";
import { volumeName } from "../storage/volume.js";
import { HOST, KEYRING, SETTINGS, STORAGE } from "../tokens.js";
import { type SeenGuest, showLeakMap, showLeaks } from "./leak-map.js";
import { open } from "./open.js";
import { print, printJson, printTable } from "./output.js";
import { planNextStart } from "./plan-next-start.js";
import { type Problem, problemOf } from "./problem.js";

type GuestStatus = StatusOutput["guests"][number];
type DiskStatus = GuestStatus["disks"][number];

export function statusCommand(): Command {
  return new Command("status")
    .summary("which disks are encrypted")
    .description(
      "Shows every disk as its header, its key record and the guest's configuration tell. Of one guest also its leak map: " +
        "where data of it are besides its encrypted disks, what protects them there, and what to do.",
    )
    .argument("[guest]", "name, UUID or VMID; all guests without it")
    .option("--json", "for machines")
    .action(async (name: string | undefined, { json }: { json?: true }) => {
      const container = open();
      const seen = name === undefined ? await everyGuest(container) : [await see(container, name)];
      const guests = seen.map(({ status }) => status);
      if (json) {
        printJson(validate, { guests } satisfies StatusOutput);
        return;
      }
      if (guests.length === 0) {
        print("this host has no guests");
        return;
      }
      show(guests);
      const [guest] = guests;
      if (name !== undefined && guest !== undefined) showLeakMap(guest);
      else showLeaks(seen);
    });
}

async function everyGuest(container: Container): Promise<SeenGuest[]> {
  const seen: SeenGuest[] = [];
  for (const { elsewhere, ...summary } of await container.resolve(HOST).listGuests()) {
    // what this host cannot see of them would look like damage
    if (elsewhere) continue;
    try {
      seen.push(await see(container, summary.id));
    } catch (thrown) {
      // a guest that cannot be read (it is transient, or just gone) hides no other
      const problem = problemOf(asLuksmithError(thrown));
      seen.push({ status: { ...summary, disks: [], dataPlaces: [], problem } });
    }
  }
  return seen;
}

async function see(container: Container, nameOrId: string): Promise<SeenGuest> {
  const guest = await container.resolve(HOST).readGuest(nameOrId);
  const { id, name, running } = guest;
  const [problem, disks, dataPlaces] = await Promise.all([
    startProblem(container, guest),
    diskStatuses(container, guest),
    container.resolve(HOST).dataPlaces(guest),
  ]);
  const status = { id, name, running, disks, dataPlaces, ...(problem && { problem }) };
  return { status, disks: guest.disks };
}

/** What the guest's next start would be refused for; undefined if it would start. */
async function startProblem(container: Container, guest: ConfiguredGuest): Promise<Problem | undefined> {
  try {
    await planNextStart(container, guest);
    return undefined;
  } catch (thrown) {
    return problemOf(asLuksmithError(thrown));
  }
}

async function diskStatuses(container: Container, guest: Guest): Promise<DiskStatus[]> {
  using session = new KeySession();
  const storage = container.resolve(STORAGE);
  const requests = await withFittingLegacy(guest, requestsOf(guest, container), storage);
  const facts = await gatherFacts(guest, requests, { keyring: container.resolve(KEYRING), storage }, session);
  return await Promise.all(
    facts.map(async (fact): Promise<DiskStatus> => {
      const { disk } = fact;
      const status: DiskStatus = {
        device: disk.dev,
        type: disk.type,
        volume: volumeName(disk.volume),
        protection: protectionOf(fact),
        askedBy: [...(requests.get(disk.dev)?.askedBy ?? [])],
      };
      if (fact.kind === "annotated") status.key = fact.uuid;
      if (disk.mapping !== undefined) status.mapping = disk.mapping;
      if (fact.kind === "annotated" && fact.key.kind === "found") {
        const { cipher, keySize, format } = fact.key.record.encryption;
        const openedBy = disk.mapping === undefined ? "native" : "dm-crypt";
        Object.assign(status, { keystore: fact.key.keystore, format, cipher, keySize, openedBy });
        if (fact.key.cached !== undefined) status.cachedAt = fact.key.cached.since.toISOString();
      }
      if (fact.kind === "annotated" && fact.probe?.kind === "luks") {
        const backend = await storage.backendFor(disk.volume);
        status.payloadOffset = fact.probe.header.payloadOffset;
        status.guestSize = Number(await backend.guestSize(disk.volume, fact.probe.header));
      }
      return status;
    }),
  );
}

/** A guest whose wishes conflict has no valid request; the conflict itself is its `problem`. */
function requestsOf(guest: Guest, container: Container): ReadonlyMap<string, EncryptionRequest> {
  try {
    return resolveRequests(guest, container.resolve(SETTINGS));
  } catch {
    return new Map();
  }
}

function protectionOf(fact: DiskFacts): DiskStatus["protection"] {
  if (fact.kind === "plain") return fact.disk.encrypted ? "foreign" : "plain";
  switch (fact.key.kind) {
    case "unavailable":
      return "unknown";
    case "unknown":
      if (fact.request === undefined) return "foreign";
      return fact.probe?.kind === "empty" ? "pending" : "unknown";
    case "found":
      if (fact.key.record.state === "pending") return "pending";
      if (fact.key.record.encryption.format === "plain")
        return canBePlain(fact.probe) ? "encrypted" : "unknown";
      return fact.probe?.kind === "luks" && fact.probe.header.uuid === fact.uuid ? "encrypted" : "unknown";
  }
}

function show(guests: readonly GuestStatus[]): void {
  printTable(
    ["guest", "disk", "protection", "opened by", "size in guest", "key", "volume"],
    guests.flatMap(({ name, disks }) =>
      disks.map(({ device, protection, openedBy, guestSize, key, volume }) => {
        return [
          name,
          device,
          protection,
          openedBy ?? "",
          guestSize === undefined ? "" : formatBytes(guestSize),
          key ?? "",
          volume,
        ];
      }),
    ),
  );
  for (const { name, disks } of guests) {
    for (const { device, keystore = "", cachedAt } of disks) {
      if (cachedAt === undefined) continue;
      print(
        `\n${name} ${device}: keystore ${keystore} does not answer; the cache has the key as of ${cachedAt}`,
      );
    }
  }
  for (const { name, running, problem } of guests) {
    if (problem === undefined) continue;
    print(`\n${name} ${running ? "runs, and would not start again" : "would not start"}: ${problem.what}`);
    if (problem.why !== undefined) print(`cause: ${problem.why}`);
    if (problem.hint !== undefined) print(`hint: ${problem.hint}`);
  }
}
