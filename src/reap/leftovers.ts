import type { MappingClaim } from "../encryption/encryption-provider.js";
import type { GuestSummary, ProvidedSecret } from "../host/host-adapter.js";

/** What Luksmith gave to guests of this host, whether they run or not. */
export interface Given {
  readonly secrets: readonly ProvidedSecret[];
  readonly claims: readonly MappingClaim[];
}

/** What a guest that does not run has left on this host. */
export interface GuestLeftovers extends Given {
  readonly guest: {
    readonly id: string;
    /** Unknown for a guest that the host does not have any more, and that has left host secrets only. */
    readonly name?: string;
  };
}

/** What of it belongs to guests that do not run, by guest. */
export function leftoversOf({ secrets, claims }: Given, guests: readonly GuestSummary[]): GuestLeftovers[] {
  const running = new Set(guests.filter((guest) => guest.running).map(({ id }) => id));
  const names = new Map([
    ...claims.map(({ guest }): [string, string] => [guest.id, guest.name]),
    ...guests.map(({ id, name }): [string, string] => [id, name]),
  ]);
  const ids = new Set([...secrets.map(({ guestId }) => guestId), ...claims.map(({ guest }) => guest.id)]);
  return [...ids]
    .filter((id) => !running.has(id))
    .map((id) => {
      const name = names.get(id);
      return {
        guest: name === undefined ? { id } : { id, name },
        secrets: secrets.filter(({ guestId }) => guestId === id),
        claims: claims.filter(({ guest }) => guest.id === id),
      };
    });
}
