import { asLuksmithError, LuksmithError } from "../error/luksmith-error.js";
import type { Guest, GuestSummary, HostAdapter } from "../host/host-adapter.js";
import type { KeyUuid } from "../keystore/key-uuid.js";
import { eachBounded } from "../keystore/transfer/each-bounded.js";
import { separationCommand } from "../plan/commands.js";
import { isSameVolume } from "../plan/same-volume.js";
import { volumeName } from "../storage/volume.js";
import type { DiskMapping } from "../disk-info/disk-info.js";

/** A disk of a guest of this host that is opened with a key: by it alone, or with it for what lies under its volume. */
export interface KeyUse {
  readonly guest: Pick<Guest, "id" | "name">;
  readonly disk: DiskMapping;
  readonly opens: "disk" | "base";
  /** As the guest is configured, or as it runs here. */
  readonly configuration: "persistent" | "running";
}

/** Guests that are read side by side: the host manager answers one after the other, but for the programs that ask it. */
const READ_AT_ONCE = 8;

type Host = Pick<HostAdapter, "listGuests" | "readGuest" | "readRunningGuest">;

/** Which disks of all guests of this host need which key, as these are configured and as they run. */
export class KeyUses {
  private constructor(private readonly uses: ReadonlyMap<KeyUuid, readonly KeyUse[]>) {}

  /** @throws what keeps a guest from being read: it may use a key as well */
  static async of(host: Host): Promise<KeyUses> {
    const guests = await host.listGuests();
    const found = new Map<GuestSummary, readonly [KeyUuid, KeyUse][]>();
    await eachBounded(guests, READ_AT_ONCE, async (summary) => {
      found.set(summary, (await configurationsOf(host, summary)).flatMap(usesIn));
    });
    const uses = new Map<KeyUuid, KeyUse[]>();
    // in the order of the list, whoever answered first
    for (const [uuid, use] of guests.flatMap((guest) => found.get(guest) ?? []))
      uses.set(uuid, [...(uses.get(uuid) ?? []), use]);
    return new KeyUses(uses);
  }

  /** Guests that open something with the key. */
  guestsWith(uuid: KeyUuid): Pick<Guest, "id" | "name">[] {
    const all = this.of(uuid).map(({ guest: { id, name } }): [string, Pick<Guest, "id" | "name">] => [
      id,
      { id, name },
    ]);
    return [...new Map(all).values()];
  }

  /** Whether a guest that runs here has it open, as far as that can be known. */
  isOpenHere(uuid: KeyUuid): boolean {
    return this.of(uuid).some(({ configuration }) => configuration === "running");
  }

  of(uuid: KeyUuid): readonly KeyUse[] {
    return this.uses.get(uuid) ?? [];
  }

  /**
   * A key opens one volume, over which others may lie. A copy or a linked clone of it has a header of its own, which a
   * new passphrase does not get into. @throws ROTATION_REFUSED
   */
  async requireOneVolume(uuid: KeyUuid, disk: DiskMapping): Promise<void> {
    for (const use of this.of(uuid)) {
      if (use.opens === "base" || (await isSameVolume(use.disk, disk))) continue;
      throw new LuksmithError("ROTATION_REFUSED", {
        what: `disk ${use.disk.dev} of guest ${use.guest.name} has the same key`,
        why: `${volumeName(use.disk.volume)} and ${volumeName(disk.volume)} are copies with a LUKS header each, of which one would keep the former passphrase`,
        hint: `give the copy a key of its own first: ${separationCommand(use.guest, use.disk.dev)}`,
      });
    }
  }
}

type Configuration = readonly [KeyUse["configuration"], Guest];

function usesIn([configuration, guest]: Configuration): [KeyUuid, KeyUse][] {
  const { id, name } = guest;
  return Object.values(guest.disks.mapping).flatMap((disk) => {
    const use = { guest: { id, name }, disk, configuration };
    const own = disk.encryption_secret_uuid;
    return [
      ...(own === undefined ? [] : [[own, { ...use, opens: "disk" }] as [KeyUuid, KeyUse]]),
      ...(disk.backingSecretUuids ?? []).map((uuid): [KeyUuid, KeyUse] => [uuid, { ...use, opens: "base" }]),
    ];
  });
}

/** Of a guest that runs both: disks of the one may be edited, those of the other attached since. */
async function configurationsOf(host: Host, summary: GuestSummary): Promise<Configuration[]> {
  const persistent = await host.readGuest(summary.id).catch(unlessGone);
  const running = summary.running ? await host.readRunningGuest(summary).catch(unlessGone) : undefined;
  return [
    ...(persistent === undefined ? [] : [["persistent", persistent] as const]),
    ...(running === undefined ? [] : [["running", running] as const]),
  ];
}

function unlessGone(thrown: unknown): undefined {
  if (asLuksmithError(thrown).code !== "GUEST_NOT_FOUND") throw thrown;
}
