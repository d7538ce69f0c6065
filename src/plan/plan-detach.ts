import type { DiskMapping } from "../disk-info/disk-info.js";
import type { MappingClaim } from "../encryption/encryption-provider.js";
import { LuksmithError } from "../error/luksmith-error.js";
import { printable } from "../error/printable.js";
import type { Guest, ProvidedSecret } from "../host/host-adapter.js";
import { guestWord } from "./commands.js";
import { diskOf } from "./guest-disk.js";
import { mappingOf } from "./same-volume.js";
import { type DiskKey, planOf, type Plan, type Step } from "./step.js";

/** Where the disk is taken from: the running guest only, or its persistent configuration as well. */
export type DetachScope = "live" | "everywhere";

/** What `detach` must know. */
export interface DetachFacts {
  /** Device name. */
  readonly disk: string;
  /** The configuration with which the guest runs; undefined while it is shut off. */
  readonly running: Guest | undefined;
  /** As the persistent configuration has it. */
  readonly configured: DiskMapping | undefined;
  /** Whether that is another volume than the running guest's. */
  readonly configuredIsOther: boolean;
  /** Host secrets of the guest, and mappings that were opened for it. */
  readonly provided: readonly ProvidedSecret[];
  readonly claims: readonly MappingClaim[];
}

/**
 * Takes a disk from a guest, and then what it was opened with, which the running configuration tells: a disk with an
 * encryption block has a host secret, one without may have a mapping. Neither keystores nor versions are asked, and no
 * key is deleted. The configuration comes last: a `detach` that is cut short goes on from there. Pure.
 * @throws GUEST_NOT_RUNNING, DISK_NOT_FOUND if there is nothing to take away; VOLUME_UNSUPPORTED
 */
export function planDetach(guest: Guest, facts: DetachFacts, scope: DetachScope): Plan {
  const { disk, running, configured, configuredIsOther } = facts;
  if (scope === "live" && running === undefined) throw notRunning(guest, disk);
  const live = running && diskOf(running, disk);
  const [secrets, mappings] = [secretsOf(facts, live), mappingsOf(facts, live)];
  if (live === undefined && configured === undefined && secrets.length + mappings.length === 0)
    throw notFound(guest, facts);
  const removes = scope === "everywhere" && configured !== undefined && !configuredIsOther;
  if (removes && configured.encryption_format === "plain") throw onlyConfigured(guest, facts);
  const withdrawing: Step[] = secrets.length === 0 ? [] : [{ kind: "withdraw-secrets", secrets }];
  const closing = mappings.map((mapping): Step => ({ kind: "close-mapping", disk, mapping }));
  return planOf(
    live === undefined ? [] : [{ kind: "detach-disk", disk }],
    [...withdrawing, ...closing],
    removes ? [{ kind: "remove-disk", disk }] : [],
  );
}

/** Those that no other disk of the guest needs; what other guests need, the host keeps by itself. */
function secretsOf({ disk, running, provided }: DetachFacts, live: DiskMapping | undefined): DiskKey[] {
  const others = otherDisks(running, disk);
  const needed = new Set([
    ...provided.filter((secret) => others.some(({ dev }) => dev === secret.disk)).map(({ uuid }) => uuid),
    ...others.flatMap(({ encryption_secret_uuid: own, backingSecretUuids = [] }) => [
      own,
      ...backingSecretUuids,
    ]),
  ]);
  const opening = provided.filter(
    (secret) => secret.disk === disk || secret.uuid === live?.encryption_secret_uuid,
  );
  const uuids = new Set(opening.map(({ uuid }) => uuid).filter((uuid) => !needed.has(uuid)));
  return [...uuids].map((uuid) => ({ disk, uuid }));
}

/** None of a disk that QEMU decrypts: it has an encryption block. */
function mappingsOf({ disk, running, claims }: DetachFacts, live: DiskMapping | undefined): string[] {
  const used = live && mappingOf(live);
  if (live?.encrypted && used === undefined) return [];
  const needed = new Set(otherDisks(running, disk).map(mappingOf));
  const claimed = claims.filter((claim) => claim.disk === disk || claim.name === used);
  const names = new Set([
    ...(live?.mapping === undefined ? [] : [live.mapping]),
    ...claimed.map(({ name }) => name),
  ]);
  return [...names].filter((name) => !needed.has(name));
}

function otherDisks(running: Guest | undefined, disk: string): DiskMapping[] {
  return Object.values(running?.disks.mapping ?? {}).filter(({ dev }) => dev !== disk);
}

function notRunning(guest: Guest, disk: string): LuksmithError {
  return new LuksmithError("GUEST_NOT_RUNNING", {
    what: `cannot detach disk ${disk} from running guest ${guest.name}: it is shut off`,
    hint: "without --live, the disk is taken out of its configuration",
  });
}

function notFound(guest: Guest, { disk, running }: DetachFacts): LuksmithError {
  const disks = new Set([...Object.keys(running?.disks.mapping ?? {}), ...Object.keys(guest.disks.mapping)]);
  return new LuksmithError("DISK_NOT_FOUND", {
    what: `guest ${guest.name} has no disk ${printable(disk)}`,
    hint: disks.size === 0 ? "it has no disks" : `it has ${[...disks].join(", ")}`,
  });
}

/** Nothing on a plain volume tells its key, so that it could be found again. */
function onlyConfigured(guest: Guest, { disk, running }: DetachFacts): LuksmithError {
  const convert = `luksmith convert ${guestWord(guest)} ${disk}`;
  const edit = `virsh edit ${guestWord(guest)}`;
  return new LuksmithError("VOLUME_UNSUPPORTED", {
    what: `cannot take disk ${disk} out of the configuration of guest ${guest.name}`,
    why: "it is plain dm-crypt, and nothing but the configuration tells how its volume is opened",
    hint:
      running === undefined
        ? `convert it first: ${convert}; or take its <disk> and its <luksmith:mapping dev='${disk}' …/> out with ${edit}, and keep both: put back, they attach it again`
        : `keep it there with --live, or shut the guest down and convert it: ${convert}`,
  });
}
