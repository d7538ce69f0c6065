import type { DiskMapping } from "../../src/disk-info/disk-info.js";
import type { ConfiguredGuest, Guest, GuestSummary, UnderWay } from "../../src/host/host-adapter.js";
import { FakeHostAdapter } from "../fake/fake-host-adapter.js";

/** One that has guests, all of which are read as they are given. */
export class HostWithGuests extends FakeHostAdapter {
  guests: ConfiguredGuest[] = [];
  state: UnderWay | undefined;

  override listGuests(): Promise<GuestSummary[]> {
    return Promise.resolve(this.guests.map(({ id, name, running }) => ({ id, name, running })));
  }

  override readGuest(nameOrId: string): Promise<ConfiguredGuest> {
    const guest = this.guests.find(({ id, name }) => id === nameOrId || name === nameOrId);
    return guest === undefined ? super.readGuest(nameOrId) : Promise.resolve(guest);
  }

  override readRunningGuest(guest?: Pick<Guest, "id">): Promise<Guest> {
    return this.readGuest(guest?.id ?? "");
  }

  underWay(): Promise<UnderWay | undefined> {
    return Promise.resolve(this.state);
  }
}

export function guestWith(name: string, ...disks: DiskMapping[]): ConfiguredGuest {
  const mapping = Object.fromEntries(disks.map((one) => [one.dev, one]));
  return {
    ...{ id: `id-${name}`, name, asks: [], tags: [], configuration: "", running: false, saved: false },
    disks: { disk_bus: "virtio", cdrom_bus: "sata", mapping },
  };
}
