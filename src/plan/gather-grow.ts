import type { DiskMapping } from "../disk-info/disk-info.js";
import type { Guest, HostAdapter } from "../host/host-adapter.js";
import type { DiskFacts } from "./facts.js";
import { type FactSources, gatherFacts } from "./gather.js";
import type { KeySession } from "./key-session.js";
import type { GuestState } from "./step.js";

const SECTOR = 512n;

/** What `grow` must know of its disk. */
export interface GrowFacts {
  readonly disk: DiskFacts;
  readonly guest: GuestState;
  /** Undefined for a volume without a LUKS header. */
  readonly sizes: DiskSizes | undefined;
}

export interface DiskSizes {
  /** Bytes that the volume has for its guest. */
  readonly volume: bigint;
  /** Bytes that the guest sees: fewer while it runs and was not told yet that its volume has grown. */
  readonly guest: bigint;
  /** Bytes to which the storage rounds up. */
  readonly extent: bigint;
}

/** @param guest with the configuration that holds: the one that it runs with, if it runs */
export async function gatherGrowFacts(
  guest: Guest,
  disk: DiskMapping,
  state: GuestState,
  sources: FactSources & { readonly host: HostAdapter },
  session: KeySession,
): Promise<GrowFacts> {
  const alone = { ...guest, disks: { ...guest.disks, mapping: { [disk.dev]: disk } } };
  const [facts] = await gatherFacts(alone, new Map(), sources, session);
  if (facts === undefined) throw new Error("one disk has the facts of one disk");
  return { disk: facts, guest: state, sizes: await diskSizes(guest, facts, state, sources) };
}

/** Undefined for a volume without a LUKS header. */
export async function diskSizes(
  guest: Guest,
  facts: DiskFacts,
  state: GuestState,
  { storage, host }: FactSources & { readonly host: HostAdapter },
): Promise<DiskSizes | undefined> {
  if (facts.kind === "plain" || facts.probe?.kind !== "luks") return undefined;
  const { dev, volume } = facts.disk;
  const backend = await storage.backendFor(volume);
  const size = await backend.guestSize(volume, facts.probe.header);
  return {
    volume: size,
    guest: state === "running" ? await host.diskSize(guest, dev) : size,
    extent: (await backend.extent?.(volume)) ?? SECTOR,
  };
}
