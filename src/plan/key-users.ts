import { asLuksmithError, LuksmithError } from "../error/luksmith-error.js";
import type { Guest, GuestSummary, HostAdapter } from "../host/host-adapter.js";
import type { KeyUuid } from "../keystore/key-uuid.js";

/** A disk of a guest of this host whose configuration names a key. */
export interface KeyUser {
  readonly guest: string;
  readonly disk: string;
  readonly configuration: "persistent" | "running";
}

type Host = Pick<HostAdapter, "listGuests" | "readGuest" | "readRunningGuest">;

/**
 * The first disk of any guest of this host, as it is configured or as it runs, that is opened with the key, for its own
 * volume or for one under it. Undefined says that there is none, for certain.
 * @throws what keeps a guest from being read
 */
export async function findKeyUser(host: Host, uuid: KeyUuid): Promise<KeyUser | undefined> {
  for (const summary of await host.listGuests()) {
    for (const [configuration, guest] of await configurationsOf(host, summary)) {
      const disk = diskWith(guest, uuid);
      if (disk !== undefined) return { guest: guest.name, disk, configuration };
    }
  }
  return undefined;
}

/** Both of a guest that runs: the one may be edited, disks of the other may have been attached since. */
async function configurationsOf(
  host: Host,
  summary: GuestSummary,
): Promise<[KeyUser["configuration"], Guest][]> {
  const persistent = await host.readGuest(summary.id).catch(unlessNotFound);
  // of a transient guest the running one is all there is
  const running =
    summary.running || persistent?.running
      ? await host.readRunningGuest(summary).catch(unlessNotFound)
      : undefined;
  if (running === undefined && (summary.running || persistent === undefined)) {
    await requireChanged(host, summary, persistent);
  }
  return [
    ...(persistent === undefined ? [] : [["persistent", persistent] as ["persistent", Guest]]),
    ...(running === undefined ? [] : [["running", running] as ["running", Guest]]),
  ];
}

function unlessNotFound(thrown: unknown): undefined {
  if (asLuksmithError(thrown).code !== "GUEST_NOT_FOUND") throw thrown;
}

/** A guest that has vanished or stopped since the list was made is read as far as it can be; any other is not. */
async function requireChanged(
  host: Host,
  { id, name }: GuestSummary,
  persistent: Guest | undefined,
): Promise<void> {
  const now = (await host.listGuests()).find((guest) => guest.id === id);
  if (now === undefined || (persistent !== undefined && !now.running)) return;
  throw new LuksmithError("GUEST_NOT_FOUND", {
    what: `cannot read the configuration of guest ${name}`,
    why: "it may use the key",
    hint: "try again, when all guests can be read: luksmith status",
  });
}

function diskWith({ disks }: Guest, uuid: KeyUuid): string | undefined {
  return Object.values(disks.mapping).find(
    ({ encryption_secret_uuid: own, backingSecretUuids = [] }) =>
      own === uuid || backingSecretUuids.includes(uuid),
  )?.dev;
}
