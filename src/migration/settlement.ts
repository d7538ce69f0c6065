import { asLuksmithError } from "../error/luksmith-error.js";
import type { Whereabouts } from "../host/guest-migration.js";
import type { Guest, HostAdapter } from "../host/host-adapter.js";
import { annotationNow, annotationsOf } from "../plan/annotation.js";
import { diskOf } from "../plan/guest-disk.js";
import type { GuestLocks } from "../plan/guest-locks.js";
import type { AnnotatedKey, CopiedDisk } from "../plan/step.js";
import type { StorageRegistry } from "../storage/index.js";
import type { Arrivals, NotedArrival } from "./arrivals.js";

/**
 * Milliseconds. A guest whose hook is still at work is not to be seen yet; a note that is older, and about which libvirt
 * knows nothing, is of a hook that was killed.
 */
const ANNOUNCED = 300_000;

/**
 * `arriving`: not yet, or nobody can tell yet. `put-right`: the guest's configuration names the keys that its disks have
 * here. `forgotten`: there was nothing to put right.
 */
export type Settled = "arriving" | "put-right" | "forgotten";

export interface SettlementResources {
  readonly host: HostAdapter;
  readonly storage: StorageRegistry;
  readonly locks: GuestLocks;
  readonly arrivals: Arrivals;
}

/**
 * What remains to be done when a guest has arrived: its persistent configuration is the source's, and names the keys of
 * the source. Not from a hook. Killed at any moment, it can be done again.
 */
export class Settlement {
  constructor(private readonly resources: SettlementResources) {}

  /** Whether `settle` would do something now. @throws HOST_UNAVAILABLE */
  async isDue(noted: NotedArrival): Promise<boolean> {
    return isOver(noted, await this.resources.host.migration.whereabouts(noted.guest));
  }

  /** @throws HOST_UNAVAILABLE, GUEST_CHANGED, LOCK_TIMEOUT, NOT_PERMITTED: the note stays */
  async settle(noted: NotedArrival): Promise<Settled> {
    const { host, arrivals, locks } = this.resources;
    const { guest, nonce } = noted;
    const where = await host.migration.whereabouts(guest);
    if (!isOver(noted, where)) return "arriving";
    return await locks.hold(guest, async () => {
      const now = arrivals.find(guest);
      // a later attempt has begun meanwhile, and has its own settlement
      if (now === undefined || now === "damaged" || now.nonce !== nonce) return "forgotten";
      const changed = await this.#putRight(now, where);
      if (changed !== "arriving") arrivals.forget(guest, nonce);
      return changed;
    });
  }

  async #putRight(
    { guest: { id }, stage, copies, defined }: NotedArrival,
    where: Whereabouts,
  ): Promise<Settled> {
    const { host } = this.resources;
    const guest = copies.length === 0 ? undefined : await host.readGuest(id).catch(unlessGone);
    if (guest === undefined) return "forgotten";
    // a definition that came alone, with the keys of volumes to which nothing was copied: its start must be refused
    if (stage === "announced")
      return where === "absent" && copies.some(({ to }) => names(guest, to)) ? "arriving" : "forgotten";
    // a migration that was cut short leaves no definition; whose the one is that was there before, nobody knows
    if (where === "absent" && defined) return "forgotten";
    const live = where === "running" ? await host.readRunningGuest(guest) : undefined;
    const stale: CopiedDisk[] = [];
    for (const copy of copies) stale.push(...(await this.#staleIn(guest, copy, live)));
    if (stale.length === 0) return "forgotten";
    await host.annotate(
      guest,
      annotationsOf(stale.map(({ to }) => to)),
      annotationsOf(stale.map(({ from }) => from)),
    );
    return "put-right";
  }

  /**
   * The configuration may be another one than the source's, with other volumes: then it is as somebody wants it. That of
   * a guest that has moved on before it was settled names an older key still; what it runs with tells which one is right.
   */
  async #staleIn(guest: Guest, { disk: dev, from, to }: CopiedDisk, live?: Guest): Promise<CopiedDisk[]> {
    const disk = diskOf(guest, dev);
    const now = disk && annotationNow(disk);
    if (disk === undefined || now === undefined || isSame(now, to)) return [];
    const isOurs = live === undefined ? isSame(now, from) : names(live, to);
    if (!isOurs) return [];
    const backend = await this.resources.storage.findBackend(disk.volume);
    const probe = await backend?.probe(disk.volume, "header");
    if (probe?.kind !== "luks" || probe.header.uuid !== to.uuid) return [];
    return [{ disk: dev, from: now, to }];
  }
}

function isOver({ stage, since }: NotedArrival, where: Whereabouts): boolean {
  switch (where) {
    case "arriving":
      return false;
    case "running":
      return true;
    case "absent":
      return stage === "arrived" || Math.abs(Date.now() - since.getTime()) > ANNOUNCED;
  }
}

function names(guest: Guest, key: AnnotatedKey): boolean {
  const disk = diskOf(guest, key.disk);
  const now = disk && annotationNow(disk);
  return now !== undefined && isSame(now, key);
}

function isSame(now: AnnotatedKey, { uuid, mapping }: AnnotatedKey): boolean {
  return now.uuid === uuid && now.mapping?.name === mapping?.name;
}

function unlessGone(thrown: unknown): undefined {
  if (asLuksmithError(thrown).code !== "GUEST_NOT_FOUND") throw thrown;
}
