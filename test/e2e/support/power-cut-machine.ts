import { createHash, randomBytes } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { TestGuest } from "./guests.js";
import { inGuest } from "./in-guest.js";
import { type Call, killPoints, runAndKill, someOf } from "./killed.js";
import { type Leftovers, leftoversOf } from "./leftovers.js";
import type { LuksmithHost } from "./luksmith-host.js";
import { guestOn, mappedDisks } from "./mapped.js";
import { keep, kept, pathOf, runBoots, STATE } from "./power-cut-host.js";
import { luksUuidOf, MIB } from "./volumes.js";

/**
 * The power goes in the middle of `protect`. The boot after that has `protect` finish, starts the guest, and notes what
 * it saw.
 */
export interface Facts {
  /** At which call the power went. */
  readonly cutAt: string;
  /** Whether bytes are there that were written just before that, and not synchronized. */
  readonly unsyncedIsThere: boolean;
  /** What `protect` says when it is run again. */
  readonly exitCode: number;
  readonly stderr: string;
  readonly key: string;
  readonly header: string | undefined;
  /** Of all the keys that the keystore lists. */
  readonly states: readonly string[];
  readonly wrote: string;
  readonly otherIsUnchanged: boolean;
  /** After the guest has stopped. */
  readonly left: Leftovers;
}

/** The number of times that the power goes. */
export const CUTS = 4;

const SIZE = 16 * MIB;
const NAMES = Array.from({ length: CUTS + 1 }, (_, index) => `web${index}`);

// not where only the types are wanted
if (process.argv[1]?.endsWith("power-cut-machine.mjs")) {
  const volumes = Object.fromEntries([...NAMES, "other"].map((name) => [name, SIZE]));
  await runBoots({ volumes, cuts: CUTS, prepare, cut, recover });
}

/** Finds where a kill tells something, by one that nobody cuts short. */
async function prepare(host: LuksmithHost): Promise<void> {
  writeFileSync(pathOf("other"), randomBytes(SIZE), { flush: true });
  const guests = [];
  for (const name of NAMES) guests.push(await guestOn(host, name, pathOf(name)));
  const points = await killPoints(host, protect(host, NAMES[0]!));
  keep("guests", guests);
  keep("points", someOf(points, CUTS + 1).slice(0, CUTS));
  keep("other", digestOf("other"));
}

async function cut(host: LuksmithHost, index: number): Promise<void> {
  await runAndKill(host, protect(host, nameOf(index)), pointOf(index));
  writeFileSync(unsyncedFile(index), "x");
}

async function recover(host: LuksmithHost, index: number): Promise<Facts> {
  const guest = (kept("guests") as TestGuest[]).find(({ name }) => name === nameOf(index))!;
  const point = pointOf(index);
  const again = protect(host, guest.name).argv;
  // the guest's start formats what protect has not
  const { exitCode, stderr } = await host.libvirt.exec(index % 2 === 0 ? again : again.slice(0, -1));
  const { vda } = await mappedDisks(host, guest);
  await host.start(guest);
  await inGuest(host, guest, 0, "write -P 0x5a 1M 64k");
  const wrote = await inGuest(host, guest, 0, "read -P 0x5a 1M 64k");
  await host.stop(guest);
  const keys = await host.keystore().list();
  for (const { uuid } of keys) (await host.key(uuid)).passphrase.dispose();
  return {
    ...{ cutAt: `${point.name} number ${point.n}`, exitCode, stderr, wrote },
    unsyncedIsThere: existsSync(unsyncedFile(index)) && readFileSync(unsyncedFile(index)).length > 0,
    key: vda?.secret ?? "none",
    header: await luksUuidOf(pathOf(guest.name), "raw"),
    states: keys.map(({ state }) => state),
    otherIsUnchanged: digestOf("other") === kept("other"),
    left: await leftoversOf(host),
  };
}

/** The first one is of the guest that nobody disturbs. */
function nameOf(index: number): string {
  return NAMES[index + 1]!;
}

function pointOf(index: number): Call {
  return (kept("points") as Call[])[index]!;
}

function unsyncedFile(index: number): string {
  return join(STATE, `unsynced-${index}`);
}

function protect(host: LuksmithHost, name: string) {
  return { argv: host.command("protect", name, "--engine", "dm-crypt", "--now") };
}

function digestOf(name: string): string {
  return createHash("sha256")
    .update(readFileSync(pathOf(name)))
    .digest("hex");
}
