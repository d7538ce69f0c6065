import { execa } from "execa";
import { join } from "node:path";
import { expect } from "vitest";
import type { TestGuest } from "./guests.js";
import { type Call, killPoints, type Process, runAndKill, someOf } from "./killed.js";
import type { LuksmithHost } from "./luksmith-host.js";
import { expectNothingLeft } from "./nothing-left.js";
import { luksUuidOf, opensWith } from "./volumes.js";

export interface Sweep {
  readonly host: LuksmithHost;
  readonly guest: TestGuest;
  readonly process: Process;
  /** How often it is killed, spread over all it does. */
  readonly kills: number;
  /** Makes the world as it was before the process ran. */
  readonly reset: () => Promise<void>;
  /** What must hold right after the kill. */
  readonly afterKill?: (when: string) => Promise<void>;
  /** What an administrator or libvirt does next, and what must hold then. */
  readonly goOn: (when: string) => Promise<void>;
}

/** Kills the process with SIGKILL at one call after the other, each time in the same world. */
export async function sweep({ host, process, kills, reset, afterKill, goOn }: Sweep): Promise<void> {
  await reset();
  const points = someOf(await killPoints(host, process), kills);
  const ended: string[] = [];
  for (const point of points) {
    await reset();
    ended.push(await runAndKill(host, process, point));
    const when = `after a kill at ${describe(point)}`;
    await expectReadableKeys(host, when);
    await afterKill?.(when);
    await goOn(when);
  }
  // a call that this run did not make, since two volumes are worked on side by side, is no kill
  expect(ended.filter((end) => end === "killed").length).toBeGreaterThan(points.length / 2);
}

/** Runs the process again, now to its end. */
export async function runAgain(host: LuksmithHost, { argv, stdin }: Process, when: string): Promise<void> {
  const ended = await host.libvirt.exec(argv, stdin === undefined ? {} : { input: stdin });
  expect({ exitCode: ended.exitCode, stderr: ended.stderr }, when).toEqual({ exitCode: 0, stderr: "" });
}

/** Each disk is encrypted under the one key that its encryption block names, and nothing else is there. */
export async function expectFinished(host: LuksmithHost, guest: TestGuest, when: string): Promise<void> {
  const blocks = await host.blocks(guest);
  for (const { dev, path, format } of guest.disks) {
    expect(await luksUuidOf(path, format), when).toBe(blocks[dev]);
    const { record, passphrase } = await host.key(blocks[dev]);
    using secret = passphrase;
    expect(record.state, when).toBe("active");
    expect(await opensWith(path, format, secret), when).toBe(true);
  }
  expect(await host.keystore().list(), when).toHaveLength(guest.disks.length);
  await expectNothingLeft(host);
}

/** Keeps a copy of the volumes and of Luksmith's state, and brings it back. */
export async function keepWorld(host: LuksmithHost): Promise<() => Promise<void>> {
  const state = host.inside("/var/lib/luksmith");
  const copy = join(host.libvirt.dir, "kept");
  const script = `
    rm -rf "$3"/images "$3"/state; mkdir -p "$3"
    cp -a --sparse=always "$1" "$3"/images && cp -a "$2" "$3"/state`;
  await execa("sh", ["-ec", script, "sh", host.images, state, copy]);
  const restore = `
    find "$1" "$2" -mindepth 1 -delete
    cp -a --sparse=always "$3"/images/. "$1" && cp -a "$3"/state/. "$2"`;
  return async () => {
    await execa("sh", ["-ec", restore, "sh", host.images, state, copy]);
  };
}

async function expectReadableKeys(host: LuksmithHost, when: string): Promise<void> {
  const keystore = host.keystore();
  for (const { uuid } of await keystore.list()) {
    const { record, passphrase } = await host.key(uuid);
    using secret = passphrase;
    expect([record.uuid, secret.length], when).toEqual([uuid, 88]);
  }
}

function describe({ name, n }: Call): string {
  return `${name} number ${n}`;
}
