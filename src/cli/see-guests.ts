import type { Container } from "../di.js";
import { asLuksmithError } from "../error/luksmith-error.js";
import { type Problem, problemOf } from "../error/problem.js";
import type { ConfiguredGuest } from "../host/host-adapter.js";
import { diskStatuses } from "../status/gather-status.js";
import { HOST } from "../tokens.js";
import type { SeenGuest } from "./leak-map.js";
import { planNextStart } from "./plan-next-start.js";

/** All guests of this host, one after the other. */
export async function everyGuest(container: Container): Promise<SeenGuest[]> {
  const seen: SeenGuest[] = [];
  for (const { elsewhere, ...summary } of await container.resolve(HOST).listGuests()) {
    // what this host cannot see of them would look like damage
    if (elsewhere) continue;
    try {
      seen.push(await see(container, summary.id));
    } catch (thrown) {
      // a guest that cannot be read (it is transient, or just gone) hides no other
      const problem = problemOf(asLuksmithError(thrown));
      seen.push({ status: { ...summary, disks: [], dataPlaces: [], problem } });
    }
  }
  return seen;
}

/** @throws GUEST_NOT_FOUND */
export async function see(container: Container, nameOrId: string): Promise<SeenGuest> {
  const guest = await container.resolve(HOST).readGuest(nameOrId);
  const { id, name, running } = guest;
  const [problem, disks, dataPlaces] = await Promise.all([
    startProblem(container, guest),
    diskStatuses(container, guest),
    container.resolve(HOST).dataPlaces(guest),
  ]);
  const status = { id, name, running, disks, dataPlaces, ...(problem && { problem }) };
  return { status, disks: guest.disks };
}

/** What the guest's next start would be refused for; undefined if it would start. */
async function startProblem(container: Container, guest: ConfiguredGuest): Promise<Problem | undefined> {
  try {
    await planNextStart(container, guest);
    return undefined;
  } catch (thrown) {
    return problemOf(asLuksmithError(thrown));
  }
}
