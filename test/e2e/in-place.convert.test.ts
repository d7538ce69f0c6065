import { execa } from "execa";
import { randomBytes } from "node:crypto";
import { existsSync, readdirSync } from "node:fs";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it, vi } from "vitest";
import { CATALOGUE } from "../../src/error/catalogue.js";
import { secretFile } from "../../src/secret/secret-file.js";
import { hostForThisFile } from "./support/each-test.js";
import { type Call, runAndKill } from "./support/killed.js";
import { keepWorld, sweep } from "./support/kill-sweep.js";
import type { TestGuest } from "./support/guests.js";
import { luksUuidOf, MIB } from "./support/volumes.js";

vi.setConfig({ testTimeout: 600_000 });

const host = hostForThisFile();

const SIZE = 8 * MIB;
const HEADER = 2 * MIB;
const COMMANDS = {
  encrypted: ["protect", "web1", "--convert", "--in-place"],
  plain: ["unprotect", "web1", "--in-place", "--yes"],
} as const;
type To = keyof typeof COMMANDS;
const BOTH: readonly To[] = ["encrypted", "plain"];

/** Sixteen chunks are moved, each with two writes: the guest's disk is half of each then. */
const HALFWAY: Call = { name: "pwrite64", n: 20 };

interface World {
  readonly guest: TestGuest;
  readonly path: string;
  /** The guest's disk. */
  readonly bytes: Buffer;
}

/** A guest that is shut off, whose one disk is to be converted, and holds data everywhere. */
async function worldFor(to: To, directory = host().images): Promise<World> {
  const path = join(directory, "web1.raw");
  const bytes = randomBytes(SIZE);
  await writeFile(host().inside(path), bytes);
  const guest = await host().define({ name: "web1", disks: [{ dev: "vda", path, format: "raw" }] });
  if (to === "plain") await host().must(...COMMANDS.encrypted);
  return { guest, path, bytes };
}

/** What the guest sees of its disk, as its configuration has it: QEMU reads it, which knows nothing of Luksmith. */
async function guestSees({ guest, path }: World): Promise<Buffer> {
  const { vda: uuid } = await host().blocks(guest);
  const file = { driver: "file", filename: host().inside(path) };
  const image = join(host().libvirt.dir, "seen");
  const argv = (node: object) => ["-O", "raw", "--", `json:${JSON.stringify(node)}`, image];
  if (uuid === undefined) await execa("qemu-img", ["convert", ...argv({ driver: "raw", file })]);
  else {
    const { passphrase } = await host().key(uuid);
    using secret = passphrase;
    using key = secretFile(secret);
    const node = { driver: "luks", "key-secret": "s", file };
    await execa("qemu-img", ["convert", "--object", "secret,id=s,file=/proc/self/fd/3", ...argv(node)], {
      stdio: ["ignore", "pipe", "pipe", key.fd as 3],
    });
  }
  const seen = await readFile(image);
  await rm(image);
  return seen;
}

/** All is done, every byte is there, and nothing tells of a conversion any more. */
async function expectDone(world: World, to: To, when = ""): Promise<void> {
  const { guest, path, bytes } = world;
  const { vda: uuid } = await host().blocks(guest);
  expect(uuid === undefined, when).toBe(to === "plain");
  expect((await guestSees(world)).equals(bytes), when).toBe(true);
  const volume = await readFile(host().inside(path));
  expect(volume.length, when).toBe(to === "plain" ? SIZE : SIZE + HEADER);
  expect(volume.indexOf("LUKSMITH MOVING"), when).toBe(-1);
  expect(await luksUuidOf(host().inside(path), "raw"), when).toBe(uuid);
  const keys = await host().keystore().list();
  expect(
    keys.map(({ state }) => state),
    when,
  ).toEqual(["active"]);
  expect(keys[0], when).not.toHaveProperty("conversion");
  expect(journals(), when).toEqual([]);
}

function journals(): string[] {
  const directory = host().inside("/var/lib/luksmith/in-place");
  return existsSync(directory) ? readdirSync(directory) : [];
}

/** Killed when half of it is moved; the guest's start is refused then. @returns the command of the hint */
async function cutShort({ guest }: World, to: To): Promise<string> {
  expect(await runAndKill(host(), { argv: host().command(...COMMANDS[to]) }, HALFWAY)).toBe("killed");
  const { code, hint } = await host().refusedStart(guest);
  expect(code).toBe("CONVERSION_UNFINISHED");
  return commandIn(hint);
}

function commandIn(hint: string): string {
  const command = /luksmith (?:un)?protect .*/.exec(hint)?.[0];
  if (command === undefined) throw new Error(`no command is in the hint: ${hint}`);
  return command;
}

async function mustPaste(command: string): Promise<string> {
  const { exitCode, stdout, stderr } = await host().paste(command);
  expect({ exitCode, stderr }, command).toMatchObject({ exitCode: 0 });
  return stdout;
}

async function expectRefused(code: keyof typeof CATALOGUE, ...args: string[]): Promise<string> {
  const { exitCode, stderr } = await host().luksmith(...args);
  expect({ exitCode, stderr }, args.join(" ")).toMatchObject({ exitCode: CATALOGUE[code].exit });
  expect((await host().log()).filter(({ level }) => level === "error").at(-1)).toMatchObject({ code });
  return stderr;
}

const eventsOf = (stdout: string) =>
  stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as { event: string; what?: string; volume?: string });

it("a disk is encrypted where it is, runs, and is decrypted again", async () => {
  const world = await worldFor("encrypted");
  const { guest, path, bytes } = world;
  const before = await host().definition(guest);
  const dryRun = await host().must(...COMMANDS.encrypted, "--dry-run");
  expect(dryRun).toContain("would make a key for disk vda and store it in keystore ");
  expect(dryRun).toContain(`would enlarge ${path} by 2 MiB; it takes 2 MiB more of `);
  expect(dryRun).toContain(`would encrypt ${path} in place\n`);
  expect(eventsOf(await host().must(...COMMANDS.encrypted, "--dry-run", "--json")).at(-1)).toMatchObject({
    event: "would",
    what: `encrypt ${path} in place`,
  });
  expect(await host().definition(guest)).toBe(before);
  expect((await readFile(path)).equals(bytes)).toBe(true);
  expect(await host().keystore().list()).toEqual([]);

  expect(await host().must(...COMMANDS.encrypted)).toContain(`web1: vda is ${path} now, encrypted under key`);
  await expectDone(world, "encrypted");
  expect(await host().must(...COMMANDS.encrypted)).toBe("web1: vda already protected\n");
  await host().start(guest);
  await expectRefused("GUEST_RUNNING", ...COMMANDS.plain);
  await host().stop(guest);
  expect((await host().luksmith("unprotect", "web1", "--in-place")).exitCode).toBe(CATALOGUE.USAGE.exit);
  await expectDone(world, "encrypted");

  const [wouldDecrypt, ...more] = (await host().must(...COMMANDS.plain, "--dry-run")).trim().split("\n");
  expect(wouldDecrypt).toBe(`would decrypt ${path} in place`);
  expect(more).toHaveLength(3);
  const events = eventsOf(await host().must(...COMMANDS.plain, "--json"));
  expect(events.some(({ event }) => event === "progress")).toBe(true);
  expect(events.at(-1)).toEqual({ event: "finished", guest: "web1", disk: "vda", volume: path });
  await expectDone(world, "plain");
  expect(await host().definition(guest)).toBe(before);
  await host().start(guest);
  await host().stop(guest);
  expect(await host().must("purge", "web1", "--yes")).toContain("no old volume is left");
});

it("a new volume is not named for it", async () => {
  const world = await worldFor("encrypted");
  for (const option of ["--to=/srv/new.raw", "--pool=thin"])
    await expectRefused("USAGE", ...COMMANDS.encrypted, option);
  expect((await guestSees(world)).equals(world.bytes)).toBe(true);
});

describe.each(BOTH)("a conversion to %s that is killed halfway", (to) => {
  const other = to === "plain" ? "encrypted" : "plain";

  it("goes on by the command that the refused start names, and by no other one", async () => {
    const world = await worldFor(to);
    const command = await cutShort(world, to);
    expect(await host().json("status", "web1")).toMatchObject({
      guests: [{ disks: [{ device: "vda", verdict: "unproven" }] }],
    });
    expect((await host().luksmith("status", "--all")).exitCode).toBe(4);
    expect(await host().must("keys", "list")).toContain("(converting)");
    expect(await host().must(...COMMANDS[to], "--dry-run")).toContain("would go on to");
    const half = await readFile(world.path);
    const refused = await expectRefused("CONVERSION_UNFINISHED", ...COMMANDS[other]);
    expect(commandIn(refused)).toContain(command);
    const others = [
      ["protect", "web1"],
      ["protect", "web1", "--convert"],
      ["unprotect", "web1", "--yes"],
      ["rotate", "web1"],
    ];
    for (const argv of others)
      expect((await host().luksmith(...argv)).stderr, argv.join(" ")).toContain(command);
    const restored = await host().luksmith("header", "restore", "web1", "vda", "--yes");
    expect(restored).toMatchObject({ exitCode: CATALOGUE.CONVERSION_UNFINISHED.exit });
    expect((await readFile(world.path)).equals(half)).toBe(true);

    await mustPaste(command);
    await expectDone(world, to);
    await host().start(world.guest);
    await host().stop(world.guest);
  });

  it("goes on without the host's journal and copies of headers", async () => {
    const world = await worldFor(to);
    const command = await cutShort(world, to);
    expect(journals()).toHaveLength(2);
    for (const name of ["in-place", "headers"])
      await rm(host().inside(join("/var/lib/luksmith", name)), { recursive: true });
    await mustPaste(command);
    await expectDone(world, to);
  });

  it("goes on wherever it is killed: every start sees all of the disk, or is refused", async () => {
    const world = await worldFor(to);
    const { guest } = world;
    const definition = await host().definition(guest);
    const restore = await keepWorld(host());
    let refusals = 0;
    let command: string | undefined;
    await sweep({
      ...{ host: host(), guest, process: { argv: host().command(...COMMANDS[to]) }, kills: 7 },
      reset: async () => {
        await restore();
        await host().libvirt.define(definition);
      },
      afterKill: async (when) => {
        const { vda: uuid } = await host().blocks(guest);
        const { conversion } = uuid === undefined ? {} : (await host().key(uuid)).record;
        command = undefined;
        if (conversion === undefined) {
          expect((await guestSees(world)).equals(world.bytes), when).toBe(true);
          return;
        }
        const { code, hint } = await host().refusedStart(guest);
        expect(code, when).toBe("CONVERSION_UNFINISHED");
        command = commandIn(hint);
        refusals++;
      },
      goOn: async (when) => {
        if (command === undefined) await host().must(...COMMANDS[to]);
        else await mustPaste(command);
        await expectDone(world, to, when);
      },
    });
    expect(refusals).toBeGreaterThan(2);
  });
});

it("only the key's record is left to tell of a decryption, and the guest has run since", async () => {
  const world = await worldFor("plain");
  await host().must(...COMMANDS.plain);
  const [record] = await host().keystore().list();
  const now = new Date().toISOString();
  const conversion = { to: "plain", startedAt: now, movedAt: now } as const;
  await host()
    .keystore()
    .update({ ...record!, conversion });
  await host().start(world.guest);
  await host().stop(world.guest);
  expect(await host().must("unprotect", "web1", "--yes")).toBe("web1: no disk is encrypted\n");
  await mustPaste(`luksmith unprotect web1 --disk vda --in-place`);
  await expectDone(world, "plain");
  expect(await host().must(...COMMANDS.plain)).toBe("web1: no disk is encrypted\n");
});

describe("storage that is full", () => {
  /** As the host sees it, so that unmounting it is the host's end. */
  async function onTmpfs(size: string, work: (directory: string) => Promise<void>): Promise<void> {
    const directory = join(host().images, "small");
    await mkdir(directory);
    await host().libvirt.exec(["mount", "-t", "tmpfs", "-o", `size=${size}`, "tmpfs", directory]);
    try {
      await work(directory);
    } finally {
      await host().libvirt.exec(["umount", directory]);
    }
  }

  it("has no room for a header: nothing is changed", async () => {
    await onTmpfs("9m", async (directory) => {
      const { guest, path, bytes } = await worldFor("encrypted", directory);
      const before = await host().definition(guest);
      for (const how of [["--dry-run"], []])
        expect(await host().luksmith(...COMMANDS.encrypted, ...how), how.join()).toMatchObject({
          exitCode: CATALOGUE.VOLUME_GROW_FAILED.exit,
        });
      expect((await readFile(host().inside(path))).equals(bytes)).toBe(true);
      expect(await host().definition(guest)).toBe(before);
      expect(await host().keystore().list()).toEqual([]);
      expect(journals()).toEqual([]);
      await host().start(guest);
      await host().stop(guest);
    });
  });

  it("gets full meanwhile: the conversion goes on when there is room again", async () => {
    await onTmpfs("11m", async (directory) => {
      const world = await worldFor("encrypted", directory);
      // what it was never written to takes no room before
      await host().libvirt.exec(["fallocate", "-p", "-o", "0", "-l", String(3 * MIB), world.path]);
      world.bytes.fill(0, 0, 3 * MIB);
      const filler = join(directory, "filler");
      const early: Call = { name: "pwrite64", n: 4 };
      expect(await runAndKill(host(), { argv: host().command(...COMMANDS.encrypted) }, early)).toBe("killed");
      await host().libvirt.exec(["sh", "-c", `head -c 11M /dev/zero > '${filler}'`]);
      const stderr = await expectRefused("VOLUME_WRITE_FAILED", ...COMMANDS.encrypted);
      const { code } = await host().refusedStart(world.guest);
      expect(code).toBe("CONVERSION_UNFINISHED");
      await rm(host().inside(filler));
      await mustPaste(commandIn(stderr).replace(/;.*/, ""));
      await expectDone(world, "encrypted");
    });
  });
});
