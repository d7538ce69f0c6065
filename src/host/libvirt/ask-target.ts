import { randomUUID } from "node:crypto";
import { LuksmithError } from "../../error/luksmith-error.js";
import { printable } from "../../error/printable.js";
import { shellWord } from "../../error/shell-word.js";
import type { MigrationAnswer } from "../../generated/migration-answer.js";
import { probeDomainXml } from "../../guest-config/probe-domain.js";
import { PROBE_PREFIX } from "../../guest-config/probe-metadata.js";
import type { Guest, GuestSummary } from "../host-adapter.js";
import { LibvirtGuests } from "./guests.js";
import { answerIn } from "./migration-answer.js";
import { isLeftBehind, newProbeName } from "./probe-name.js";
import { textFile } from "./text-file.js";
import type { Virsh, VirshAnswer, VirshCommand } from "./virsh.js";

/** Milliseconds that the target's hook may take: it asks keystores. */
const PATIENCE = 60_000;

/** Milliseconds; it takes a few. */
const CLEANING = 5_000;

/**
 * Lets a probe, a domain that carries the guest's configuration, migrate to the target without being started: there
 * libvirt calls the `migrate` hook, in which Luksmith answers by refusing. Nothing of the probe stays on either host,
 * nor of earlier ones whose processes were killed. Contract: GuestMigration.ask.
 */
export async function askTarget(
  source: Virsh,
  guest: Pick<Guest, "id" | "name">,
  target: string,
): Promise<MigrationAnswer | undefined> {
  const there = source.at(target);
  const [here, atTarget] = [await new LibvirtGuests(source).list(), await guestsOf(there, target)];
  refuseAnother(guest, target, atTarget);
  await undefine(there, leftBehind(atTarget));
  await undefine(source, leftBehind(here));
  const found = here.find(({ id }) => id === guest.id);
  const guestXml = await configurationOf(source, guest, found);
  const probe = { name: newProbeName(), uuid: randomUUID(), guestXml };
  using file = textFile(probeDomainXml(probe));
  let migration: VirshAnswer;
  try {
    // the last command too is virsh's, which goes on when this process is killed
    migration = await source
      .waiting(PATIENCE)
      .run(["define", file], migrate(probe.uuid, target), ["undefine", "--domain", probe.uuid]);
  } catch (thrown) {
    await undefine(source, [probe.uuid]);
    await undefine(there, [probe.uuid]);
    throw thrown instanceof LuksmithError ? unanswered(target, thrown) : thrown;
  }
  if (migration.errors.length > 0) return answerIn(migration.stderr, target);
  // nobody refused, so the probe is there
  await undefine(there, [probe.uuid]);
  return undefined;
}

function migrate(uuid: string, target: string): VirshCommand {
  // one word: virsh would take a URI that looks like an option for one
  const uri = { text: `--desturi=${target}` };
  return ["migrate", "--offline", "--persistent", "--domain", uuid, uri];
}

/** Never with the guest's secrets (a VNC password), which `--migratable` would bring along. */
async function configurationOf(
  virsh: Virsh,
  { id, name }: Pick<Guest, "id" | "name">,
  found: GuestSummary | undefined,
): Promise<string> {
  const kind = found?.running === true ? [] : ["--inactive"];
  const { stdout, errors } = await virsh.run(["dumpxml", ...kind, "--domain", id]);
  if (errors.length === 0) return stdout;
  throw new LuksmithError("GUEST_NOT_FOUND", {
    what: `cannot find guest "${printable(name)}"`,
    why: errors.join(": "),
    hint: "see: virsh list --all",
  });
}

async function guestsOf(virsh: Virsh, target: string): Promise<readonly GuestSummary[]> {
  try {
    // virsh takes an empty URI for that of this host
    if (target === "") throw new LuksmithError("HOST_UNAVAILABLE", { what: "the connection URI is empty" });
    return await new LibvirtGuests(virsh).list();
  } catch (thrown) {
    throw thrown instanceof LuksmithError ? unreachable(target, thrown) : thrown;
  }
}

/** libvirt refuses it too, but only when it has asked the hook. One that is shut off there is replaced. */
function refuseAnother(
  { id, name }: Pick<Guest, "id" | "name">,
  target: string,
  guests: readonly GuestSummary[],
): void {
  const task = `cannot migrate guest ${printable(name)} to ${printable(target)}`;
  const other = guests.find((guest) => guest.name === name && guest.id !== id);
  if (other !== undefined) {
    throw new LuksmithError("GUEST_EXISTS", {
      what: `${task}: another guest there has its name`,
      why: `it has UUID ${other.id}, and this one ${id}`,
      hint: "rename one of the two: virsh domrename",
    });
  }
  const itself = guests.find((guest) => guest.id === id);
  if (itself === undefined || (itself.name === name && !itself.running)) return;
  throw new LuksmithError("GUEST_EXISTS", {
    what: itself.running
      ? `${task}: a guest with its UUID runs there`
      : `${task}: a guest there has its UUID and another name, ${printable(itself.name)}`,
    why: `it has UUID ${id}`,
    hint: `see whether that is another host, and what it has: virsh -c ${shellWord(target)} list --all`,
  });
}

function leftBehind(guests: readonly GuestSummary[]): string[] {
  return guests.filter(({ name, running }) => !running && isLeftBehind(name)).map(({ id }) => id);
}

/** Whatever stays is inert, has our name and is undefined by the next process that asks: no reason to fail. */
async function undefine(virsh: Virsh, uuids: readonly string[]): Promise<void> {
  if (uuids.length === 0) return;
  try {
    await virsh.waiting(CLEANING).run(...uuids.map((uuid): VirshCommand => ["undefine", "--domain", uuid]));
  } catch (thrown) {
    if (!(thrown instanceof LuksmithError)) throw thrown;
  }
}

function unreachable(target: string, thrown: LuksmithError): LuksmithError {
  if (thrown.code === "TOOL_MISSING") return thrown;
  return new LuksmithError("HOST_UNAVAILABLE", {
    what: `cannot reach libvirt at ${printable(target)}, where the guest is to migrate`,
    why: thrown.why ?? thrown.message,
    hint: `see whether this works: virsh -c ${shellWord(target)} list`,
    cause: thrown,
  });
}

function unanswered(target: string, thrown: LuksmithError): LuksmithError {
  if (thrown.code === "TOOL_MISSING") return thrown;
  return new LuksmithError("HOST_UNAVAILABLE", {
    what: `libvirt here and at ${printable(target)} did not finish a migration of nothing`,
    why: thrown.why ?? thrown.message,
    hint: `if a domain ${PROBE_PREFIX}… is left: the next check takes it away`,
    cause: thrown,
  });
}
