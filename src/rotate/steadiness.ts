import { setTimeout } from "node:timers/promises";
import { asLuksmithError, LuksmithError } from "../error/luksmith-error.js";
import type { GuestPreparation } from "../event/guest-preparation.js";
import type { ConfiguredGuest, Guest, HostAdapter } from "../host/host-adapter.js";
import type { Keyring } from "../keystore/keyring.js";
import type { KeyUuid } from "../keystore/key-uuid.js";
import { guestWord } from "../plan/commands.js";

/**
 * Milliseconds that a start may take until its QEMU has opened its volumes, and between two looks. Less than a start that
 * wants the guest's lock waits for it.
 */
const START = 8000;
const LOOK = 200;

const BUSY = {
  starting: "is being started",
  leaving: "migrates, or is being saved or backed up",
} as const;

/** Why no passphrase of the guest is to be replaced now: ROTATION_REFUSED; undefined if nothing speaks against it. */
export async function unsteadiness(
  guest: ConfiguredGuest,
  host: HostAdapter,
): Promise<LuksmithError | undefined> {
  if (guest.saved) {
    return new LuksmithError("ROTATION_REFUSED", {
      what: "it was saved while it was running",
      why: "its next start resumes it with the disks as it left them",
      hint: `start it first: virsh start ${guestWord(guest)}`,
    });
  }
  const state = await host.underWay?.(guest);
  if (state === undefined) return undefined;
  return new LuksmithError("ROTATION_REFUSED", {
    what: `it ${BUSY[state]}`,
    why: "its disks are about to be opened with the passphrases that they have now",
    hint: "try again when that has ended",
  });
}

/**
 * When this resolves, nobody on this host is about to open the volume with the former passphrase: starts have ended,
 * copies of the key and host secrets are those of the new one.
 * @throws ROTATION_REFUSED for a start that takes too long
 */
export async function provideAnew(
  uuid: KeyUuid,
  users: readonly Pick<Guest, "id" | "name">[],
  {
    host,
    keyring,
    preparation,
  }: {
    readonly host: HostAdapter;
    readonly keyring: Keyring;
    readonly preparation: Pick<GuestPreparation, "reconnect">;
  },
): Promise<void> {
  await keyring.refreshCopy(uuid);
  for (const user of users) await untilSteady(user, host);
  const provided = (await host.providedSecrets()).filter((secret) => secret.uuid === uuid);
  for (const id of new Set(provided.map(({ guestId }) => guestId))) {
    const guest = await host.readRunningGuest({ id, name: id }).catch(unlessGone);
    if (guest !== undefined) await preparation.reconnect(guest);
  }
}

async function untilSteady(guest: Pick<Guest, "id" | "name">, host: HostAdapter): Promise<void> {
  const end = Date.now() + START;
  for (;;) {
    const state = await host.underWay?.(guest).catch(unlessGone);
    if (state === undefined) return;
    if (state === "leaving" || Date.now() > end) {
      throw new LuksmithError("ROTATION_REFUSED", {
        what: `the former passphrase is not destroyed yet: guest ${guest.name} ${BUSY[state]}`,
        why: "the disk may be opened with it at this moment; the new one opens it too, and is in the keystore",
        hint: "when that has ended, run the same command again, which finishes it",
      });
    }
    await setTimeout(LOOK);
  }
}

function unlessGone(thrown: unknown): undefined {
  const { code } = asLuksmithError(thrown);
  if (code !== "GUEST_NOT_FOUND" && code !== "GUEST_NOT_RUNNING") throw thrown;
}
