import type { Container } from "../di.js";
import type { DoctorOutput } from "../generated/doctor.js";
import { Settlement } from "../migration/settlement.js";
import { type GuestLeftovers, leftoversOf } from "../reap/leftovers.js";
import { ARRIVALS, GUEST_LOCKS, HOST, MAPPINGS, STORAGE } from "../tokens.js";

type Check = DoctorOutput["checks"][number];

/** What Luksmith gave to guests; nothing is said of mappings on a host that has none. */
export async function checkLeftovers(container: Container): Promise<Check[]> {
  const host = container.resolve(HOST);
  // before the guests: one that is given something counts as running by then
  const given = { secrets: await host.providedSecrets(), claims: container.resolve(MAPPINGS).claims() };
  const leftovers = await idle(leftoversOf(given, await host.listGuests()), container);
  const secrets = leftovers.flatMap((left) => left.secrets.map(({ uuid, path }) => path ?? uuid));
  const mappings = leftovers.flatMap((left) => left.claims.map(({ name }) => name));
  return [
    checkOrphans("host secrets", given.secrets.length, secrets),
    ...(given.claims.length === 0 ? [] : [checkOrphans("mappings", given.claims.length, mappings)]),
  ];
}

/** A command that works on a guest, such as a conversion, has its mappings open, and cleans up itself. */
async function idle(leftovers: readonly GuestLeftovers[], container: Container): Promise<GuestLeftovers[]> {
  const locks = container.resolve(GUEST_LOCKS);
  const held = await Promise.all(leftovers.map(({ guest }) => locks.isHeld(guest)));
  return leftovers.filter((_, index) => held[index] === false);
}

function checkOrphans(name: string, count: number, orphans: readonly string[]): Check {
  if (orphans.length === 0) return { name, result: "ok", detail: `${count} in use, none orphaned` };
  return {
    name,
    result: "warning",
    detail: `${orphans.length} belong to no running guest: ${orphans.join(", ")}`,
    hint: "luksmith reap",
  };
}

/** What was noted about guests that migrate here; nothing is said where nothing is noted. */
export async function checkArrivals(container: Container): Promise<Check[]> {
  const [host, arrivals] = [container.resolve(HOST), container.resolve(ARRIVALS)];
  const [locks, storage] = [container.resolve(GUEST_LOCKS), container.resolve(STORAGE)];
  const [notes, damaged] = [arrivals.list(), arrivals.damaged()];
  if (notes.length + damaged.length === 0) return [];
  const settlement = new Settlement({ host, storage, locks, arrivals });
  const due = await Promise.all(notes.map((noted) => settlement.isDue(noted)));
  const names = notes.filter((_, index) => due[index]).map(({ guest }) => guest.name);
  const name = "migrated guests";
  const checks: Check[] = [];
  if (names.length > 0) {
    const detail = `the configuration of ${names.join(", ")} may still name keys of the host that it came from`;
    checks.push({ name, result: "warning", detail, hint: "luksmith reap" });
  }
  if (damaged.length > 0) {
    const detail = `what was noted about them cannot be read: ${damaged.join(", ")}`;
    checks.push({ name, result: "warning", detail, hint: "luksmith reap --dry-run says what to do" });
  }
  const detail = `${notes.length} on the way, none left behind`;
  return checks.length > 0 ? checks : [{ name, result: "ok", detail }];
}

/** Whether the host cleans up by itself; cron may do it where it has no systemd, which nobody can tell. */
export function checkReaper(container: Container): Check[] {
  const host = container.resolve(HOST);
  const registration = host.reaperRegistration?.();
  if (registration === undefined) return [];
  const name = "reaper";
  const { kind, path } = registration;
  const hint = `luksmith install --host ${host.type}`;
  switch (kind) {
    case "registered":
      return [{ name, result: "ok", detail: `runs by ${path}` }];
    case "outdated":
      return [{ name, result: "warning", detail: `${path} is of another version, or not enabled`, hint }];
    case "absent":
      return [{ name, result: "warning", detail: `${path} does not exist`, hint }];
    case "foreign":
      return [
        { name, result: "warning", detail: `${path} is not ours`, hint: `move it away, then: ${hint}` },
      ];
    case "none":
      return [];
  }
}
