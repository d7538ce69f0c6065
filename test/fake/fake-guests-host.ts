import { LuksmithError } from "../../src/error/luksmith-error.js";
import type { ConfiguredGuest, Guest, GuestSummary } from "../../src/host/host-adapter.js";
import { FakeHostAdapter } from "./fake-host-adapter.js";

/** A host manager in memory with several guests, whose configurations nobody changes. */
export class FakeGuestsHost extends FakeHostAdapter {
  guests: readonly ConfiguredGuest[] = [];

  override listGuests(): Promise<GuestSummary[]> {
    return Promise.resolve(this.guests.map(({ id, name, running }) => ({ id, name, running })));
  }

  override readGuest(nameOrId = ""): Promise<ConfiguredGuest> {
    const found = this.guests.find(({ id, name }) => id === nameOrId || name === nameOrId);
    if (found !== undefined) return Promise.resolve(found);
    return Promise.reject(new LuksmithError("GUEST_NOT_FOUND", { what: `there is no guest ${nameOrId}` }));
  }

  override readRunningGuest(guest?: Pick<Guest, "id">): Promise<Guest> {
    return this.readGuest(guest?.id);
  }
}
