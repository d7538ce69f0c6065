import { basename } from "node:path";
import type { MappingClaim, Mappings } from "../encryption/encryption-provider.js";
import { LuksmithError } from "../error/luksmith-error.js";
import { shellWord } from "../error/shell-word.js";
import type { HostAdapter, ProvidedSecret } from "../host/host-adapter.js";
import type { Arrivals, NotedArrival } from "../migration/arrivals.js";
import type { Settlement } from "../migration/settlement.js";
import type { GuestLocks, Watch } from "../plan/guest-locks.js";
import {
  type ClaimPlaces,
  type DamagedClaim,
  damagedClaims,
  forgetClaim,
  removeUnfinishedClaims,
} from "./damaged-claims.js";
import { type Given, type GuestLeftovers, leftoversOf } from "./leftovers.js";

/** One thing that a guest had left, and what became of it. */
export interface Reaped {
  readonly kind:
    "mapping" | "host-secret" | "claim" | "arrival" | "export" | "freed-key" | "former-key" | "paused-guest";
  /**
   * Of the mapping, or of the mapping that the claim was about; a host secret's UUID, or path where it is a file; a guest's
   * UUID; the volume that is exported; a key's UUID.
   */
  readonly name: string;
  readonly guest?: GuestLeftovers["guest"];
  readonly disk?: string;
  /** `found` in a dry run; `left` where it could not be cleaned now, or must not be. */
  readonly outcome: "cleaned" | "left" | "found";
  /** Why it was left. */
  readonly why?: string;
}

export interface ReaperResources {
  readonly host: HostAdapter;
  readonly mappings: Mappings;
  readonly locks: GuestLocks;
  readonly places: ClaimPlaces;
  readonly arrivals: Arrivals;
  readonly settlement: Settlement;
}

/**
 * Cleans up after guests that do not run: closes mappings that are claimed for them and withdraws their host secrets.
 * Settles those that have migrated here, whose own process for that was killed.
 * A guest that is being started is safe by order, not by time: the host counts it as running from before its hook is
 * called, and the hook announces the start before it gives the guest anything (docs/decisions/015).
 */
export class Reaper {
  constructor(private readonly resources: ReaperResources) {}

  /** @throws HOST_UNAVAILABLE, HOST_SECRET_FAILED, TOOL_FAILED if it cannot be told what is left: nothing was done */
  async reap(manner: "apply" | "dry-run"): Promise<Reaped[]> {
    const given = await this.#given();
    const suspects = await this.#leftovers(given);
    const reaped = manner === "dry-run" ? suspects.flatMap(found) : await this.#clean(given, suspects);
    return [...reaped, ...(await this.#reapDamaged(manner)), ...(await this.#settle(manner))];
  }

  /** What was noted about guests that have arrived, or that never will. */
  async #settle(manner: "apply" | "dry-run"): Promise<Reaped[]> {
    const { arrivals, settlement } = this.resources;
    const reaped: Reaped[] = [];
    for (const noted of arrivals.list()) {
      const end = await orWhy(async () => {
        if (manner === "dry-run") return (await settlement.isDue(noted)) ? FOUND : undefined;
        return (await settlement.settle(noted)) === "arriving" ? undefined : CLEANED;
      });
      if (end !== undefined) reaped.push({ ...ofArrival(noted), ...end });
    }
    return [...reaped, ...arrivals.damaged().map(ofDamagedArrival)];
  }

  async #given(): Promise<Given> {
    const { host, mappings } = this.resources;
    return { secrets: await host.providedSecrets(), claims: mappings.claims() };
  }

  /** Nobody needs to know which guests run if none of them has anything. */
  async #leftovers(given: Given): Promise<GuestLeftovers[]> {
    if (given.secrets.length === 0 && given.claims.length === 0) return [];
    return leftoversOf(given, await this.resources.host.listGuests());
  }

  async #clean(given: Given, suspects: readonly GuestLeftovers[]): Promise<Reaped[]> {
    const watches = new Map<string, Watch>();
    for (const { guest } of suspects) watches.set(guest.id, await this.resources.locks.watch(guest));
    // asked once more: only a start that begins after this answer is certain to be noticed
    const leftovers = suspects.length === 0 ? [] : await this.#leftovers(given);
    const reaped: Reaped[] = [];
    for (const leftover of leftovers) {
      const since = watches.get(leftover.guest.id);
      // one that has stopped meanwhile is cleaned by its own hook, or next time
      if (since !== undefined) reaped.push(...(await this.#cleanGuest(leftover, since)));
    }
    return reaped;
  }

  async #cleanGuest(leftovers: GuestLeftovers, since: Watch): Promise<Reaped[]> {
    const { host, mappings, locks } = this.resources;
    const { guest, secrets, claims } = leftovers;
    const { id, name = id } = guest;
    const reaped: Reaped[] = [];
    if (secrets.length > 0) {
      const uuids = secrets.map(({ uuid }) => uuid);
      const end = await orWhy(() =>
        locks.reap(guest, since, async () => {
          await host.withdrawSecrets({ id, name }, uuids);
          return CLEANED;
        }),
      );
      if (end !== undefined)
        reaped.push(...secrets.map((secret) => ({ ...ofSecret(guest, secret), ...end })));
    }
    for (const claim of claims) {
      const end = await orWhy(() =>
        locks.reap(guest, since, async () => {
          const closed = await mappings.close(claim.name, guest);
          return closed.kind === "closed" ? CLEANED : left(closed.why ?? "somebody has it open");
        }),
      );
      if (end !== undefined) reaped.push({ ...ofMapping(guest, claim), ...end });
    }
    return reaped;
  }

  async #reapDamaged(manner: "apply" | "dry-run"): Promise<Reaped[]> {
    if (manner === "apply") removeUnfinishedClaims(this.resources.places);
    const reaped: Reaped[] = [];
    for (const claim of this.#damaged()) {
      const { name } = claim;
      const end = manner === "dry-run" ? endOf(claim, FOUND) : await this.#forget(name);
      if (end !== undefined) reaped.push({ kind: "claim", name, ...end });
    }
    return reaped;
  }

  #damaged(): DamagedClaim[] {
    const { mappings, places } = this.resources;
    return damagedClaims(places, () => mappings.claims().map(({ name }) => name));
  }

  /** Looks once more when nobody can claim it anew; undefined if it is none any more. */
  async #forget(mapping: string): Promise<End | undefined> {
    const { mappings, places } = this.resources;
    return await orWhy(() =>
      mappings.hold(mapping, () => {
        const claim = this.#damaged().find(({ name }) => name === mapping);
        if (claim?.mapping === "absent") forgetClaim(places, claim);
        return Promise.resolve(claim && endOf(claim, CLEANED));
      }),
    );
  }
}

type End = Pick<Reaped, "outcome" | "why">;

const CLEANED: End = { outcome: "cleaned" };
const FOUND: End = { outcome: "found" };

function left(why: string): End {
  return { outcome: "left", why };
}

/** @param ifAbsent what becomes of a claim whose mapping is not there */
function endOf({ mapping }: DamagedClaim, ifAbsent: End): End {
  if (mapping === "absent") return ifAbsent;
  return left(
    "it cannot be read, so nobody knows whose mapping this is; if none of your guests needs it, cryptsetup close it",
  );
}

/** A failure about one thing keeps no other from being cleaned. */
async function orWhy(work: () => Promise<End | undefined>): Promise<End | undefined> {
  try {
    return await work();
  } catch (thrown) {
    if (!(thrown instanceof LuksmithError)) throw thrown;
    const { message, why } = thrown;
    return left(why === undefined ? message : `${message} (${why})`);
  }
}

function found({ guest, secrets, claims }: GuestLeftovers): Reaped[] {
  const all = [
    ...secrets.map((secret) => ofSecret(guest, secret)),
    ...claims.map((claim) => ofMapping(guest, claim)),
  ];
  return all.map((one) => ({ ...one, outcome: "found" }));
}

type Subject = Omit<Reaped, "outcome" | "why">;

function ofSecret(guest: GuestLeftovers["guest"], { uuid, disk, path }: ProvidedSecret): Subject {
  return { kind: "host-secret", name: path ?? uuid, guest, disk };
}

function ofArrival({ guest: { id, name } }: NotedArrival): Subject {
  return { kind: "arrival", name: id, guest: { id, name } };
}

/** Left also by a dry run: nobody knows what it has said. */
function ofDamagedArrival(path: string): Reaped {
  const why = `what was noted about it cannot be read; if the guest does not start, the error says what key its disk has; remove ${shellWord(path)}`;
  return { kind: "arrival", name: basename(path), ...left(why) };
}

function ofMapping(guest: GuestLeftovers["guest"], { name, disk }: MappingClaim): Subject {
  return { kind: "mapping", name, guest, disk };
}
