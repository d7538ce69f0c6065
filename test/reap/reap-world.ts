import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { GuestSummary } from "../../src/host/host-adapter.js";
import { type KeyUuid, newKeyUuid } from "../../src/keystore/key-uuid.js";
import { Arrivals } from "../../src/migration/arrivals.js";
import { Settlement } from "../../src/migration/settlement.js";
import { GuestLocks } from "../../src/plan/guest-locks.js";
import { Reaper } from "../../src/reap/reaper.js";
import { Secret } from "../../src/secret/secret.js";
import { StorageRegistry } from "../../src/storage/storage-registry.js";
import { FakeHostAdapter } from "../fake/fake-host-adapter.js";
import { FakeMappings } from "../fake/fake-mappings.js";
import { RecordingCommandRunner } from "../fake/recording-command-runner.js";
import { temporaryDirectory } from "../fs/tree.js";

const NO_HEADER = { format: "plain", cipher: "aes-xts-plain64", keySize: 512, hash: "sha256" } as const;

/** A host whose guests a test names, and that it can let do something between two questions. */
class ListingHost extends FakeHostAdapter {
  guests: GuestSummary[] = [];
  lists = 0;
  /** Happens after the n-th list was made, before it is answered. */
  onList: (n: number) => Promise<void> = () => Promise.resolve();

  override async listGuests(): Promise<GuestSummary[]> {
    const guests = structuredClone(this.guests);
    await this.onList(++this.lists);
    return guests;
  }
}

/** The real reaper and real locks; host and mappings are fakes that keep the promises of their ports. */
export class ReapWorld {
  readonly directory = temporaryDirectory();
  readonly claims = join(this.directory, "mappings");
  /** What the kernel says to be open besides. */
  readonly kernel = new Set<string>();
  readonly host = new ListingHost();
  readonly mappings = new FakeMappings();
  readonly locks = new GuestLocks(new RecordingCommandRunner(), join(this.directory, "lock"), 1);
  readonly arrivals = new Arrivals(join(this.directory, "arrivals"));
  readonly settlement = new Settlement({
    ...{ host: this.host, locks: this.locks, arrivals: this.arrivals },
    storage: new StorageRegistry([]),
  });
  readonly reaper = new Reaper({
    arrivals: this.arrivals,
    settlement: this.settlement,
    host: this.host,
    mappings: this.mappings,
    locks: this.locks,
    places: { directory: this.claims, isOpen: (name) => this.kernel.has(name) },
  });

  guest(name: string, running: boolean): GuestSummary {
    const guest = { id: newKeyUuid(), name, running };
    this.host.guests.push(guest);
    return guest;
  }

  setRunning({ id }: GuestSummary, running: boolean): void {
    this.host.guests = this.host.guests.map((guest) => (guest.id === id ? { ...guest, running } : guest));
  }

  async secret(guest: GuestSummary, disk = "vda", uuid = newKeyUuid()): Promise<KeyUuid> {
    using passphrase = Secret.randomPassphrase();
    await this.host.provideSecrets(guest, [{ uuid, disk, passphrase }]);
    return uuid;
  }

  async mapping({ id, name: guestName }: GuestSummary, disk = "vda"): Promise<string> {
    const uuid = newKeyUuid();
    const name = `luksmith-${disk}-${uuid}`;
    using passphrase = Secret.randomPassphrase();
    await this.mappings.open(
      {
        ...{ name, disk, uuid, spec: NO_HEADER, guest: { id, name: guestName } },
        volume: { kind: "block", path: `/dev/vg/${disk}`, format: "raw" },
      },
      passphrase,
    );
    return name;
  }

  /** A file among the claims that nobody can read, as old as that it is not being written. */
  damagedClaim(name: string): string {
    mkdirSync(this.claims, { recursive: true });
    const path = join(this.claims, name);
    writeFileSync(path, "{");
    return path;
  }

  /** A file among the notes about guests that migrate here, which nobody can read. */
  damagedNote(name: string): string {
    const directory = join(this.directory, "arrivals");
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    const path = join(directory, name);
    writeFileSync(path, "{", { mode: 0o600 });
    return path;
  }

  async provided(): Promise<string[]> {
    return (await this.host.providedSecrets()).map(({ uuid }) => uuid);
  }
}
