import type { Container } from "../di.js";
import { asLuksmithError, LuksmithError } from "../error/luksmith-error.js";
import { printable, visible } from "../error/printable.js";
import type { Guest, GuestSummary, HostAdapter } from "../host/host-adapter.js";
import type { KeyUuid } from "../keystore/key-uuid.js";
import type { WantedGuest } from "../keystore/transfer/of-guest.js";
import { HOST } from "../tokens.js";

/**
 * The guest that a person calls so, with what this host knows of it: it may have got another name since its keys were
 * made, and disks of others. Where the host cannot be asked, the keys' own records must do, and standard error says so.
 * @throws GUEST_NOT_FOUND if several guests of this host have this name
 */
export async function wantedGuest(container: Container, called: string): Promise<WantedGuest> {
  const host = await orWarn(called, () => Promise.resolve(container.resolve(HOST)));
  const guests = await orWarn(called, () => host?.listGuests());
  const byId = guests?.filter(({ id }) => id === called.toLowerCase()) ?? [];
  const [found, another] = byId.length > 0 ? byId : (guests?.filter(({ name }) => name === called) ?? []);
  if (host === undefined || found === undefined) return { called };
  if (another !== undefined) {
    throw new LuksmithError("GUEST_NOT_FOUND", {
      what: `several guests are called "${printable(called)}"`,
      hint: `use the id: ${found.id}, ${another.id}`,
    });
  }
  const uses = await orWarn(called, () => keysOf(host, found));
  return { called, known: { id: found.id, uses: uses ?? [] } };
}

/** Of its disks as they are configured, and as they are now. */
async function keysOf(host: HostAdapter, guest: GuestSummary): Promise<KeyUuid[]> {
  const configured = await host.readGuest(guest.id).catch(unlessNotFound);
  const running = guest.running ? await host.readRunningGuest(guest).catch(unlessNotFound) : undefined;
  return [configured, running].flatMap((seen) => (seen === undefined ? [] : keysIn(seen)));
}

function keysIn({ disks }: Guest): KeyUuid[] {
  return Object.values(disks.mapping).flatMap(({ encryption_secret_uuid: own, backingSecretUuids = [] }) => [
    ...(own === undefined ? [] : [own]),
    ...backingSecretUuids,
  ]);
}

/** A transient guest has no configuration, and one that has just stopped does not run. */
function unlessNotFound(thrown: unknown): undefined {
  if (asLuksmithError(thrown).code !== "GUEST_NOT_FOUND") throw thrown;
}

async function orWarn<T>(called: string, ask: () => Promise<T> | undefined): Promise<T | undefined> {
  try {
    return await ask();
  } catch (thrown) {
    const { message, why } = asLuksmithError(thrown);
    const reason = visible(why === undefined ? message : `${message} (${why})`);
    const text = `keys of guest ${printable(called)} are chosen by their own records, since the host cannot tell: ${reason}`;
    process.stderr.write(`warning: ${text}\n`);
    return undefined;
  }
}
