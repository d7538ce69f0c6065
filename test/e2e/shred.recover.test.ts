import { execa } from "execa";
import { existsSync, readdirSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { Secret } from "../../src/secret/secret.js";
import { hostForThisFile } from "./support/each-test.js";
import type { TestGuest } from "./support/guests.js";
import { keepWorld } from "./support/kill-sweep.js";
import { killPoints, runAndKill, someOf } from "./support/killed.js";
import { opensWith } from "./support/volumes.js";

const host = hostForThisFile();
const STATE = "/var/lib/luksmith";
const SHRED = ["shred", "web1", "--yes-i-mean", "web1"] as const;

interface Filled {
  readonly guest: TestGuest;
  /** Device name → UUID of its key. */
  readonly blocks: Record<string, string>;
  /** Every passphrase that was ever good for each disk: the first one, that of the keystore, that of the escrow. */
  readonly known: ReadonlyMap<string, readonly string[]>;
}

async function textOf(uuid: string): Promise<string> {
  const { passphrase } = await host().key(uuid);
  using secret = passphrase;
  return secret.use((bytes) => bytes.toString());
}

/** A guest of two disks with all that can open them: header copies, escrow, a former passphrase. */
async function filled(): Promise<Filled> {
  const { stdout } = await execa("age-keygen");
  const identity = host().inside("/etc/luksmith/identity.txt");
  await writeFile(identity, stdout, { mode: 0o600 });
  const recipient = /public key: (age1\S+)/.exec(stdout)![1]!;
  await host().settings({ version: 1, profiles: [{ name: "default", recovery: [recipient] }] });
  const guest = await host().guest("web1", ["raw", "qcow2"]);
  await host().must("protect", "web1", "--now");
  const blocks = await host().blocks(guest);
  const first = new Map<string, string>();
  for (const [dev, uuid] of Object.entries(blocks)) first.set(dev, await textOf(uuid));
  await host().must("rotate", "web1");
  const known = new Map<string, string[]>();
  for (const [dev, uuid] of Object.entries(blocks)) {
    const escrow = join(STATE, "escrow", `${uuid}.7.age`);
    const { stdout: text } = await execa("age", ["--decrypt", "-i", identity, host().inside(escrow)]);
    known.set(dev, [first.get(dev)!, await textOf(uuid), text]);
  }
  const filled = { guest, blocks, known };
  expect(await opening(filled)).toEqual(["vda 1", "vda 2", "vdb 1", "vdb 2"]);
  return filled;
}

/** Which of the passphrases open which disk. */
async function opening({ guest, known }: Filled): Promise<string[]> {
  const found: string[] = [];
  for (const { dev, path, format } of guest.disks) {
    for (const [number, text] of known.get(dev)!.entries()) {
      using passphrase = Secret.own(Buffer.from(text));
      if (await opensWith(path, format, passphrase)) found.push(`${dev} ${number}`);
    }
  }
  return found;
}

/** Names of all files of the host's state that are about these keys, but for the records of their destruction. */
function filesAbout({ blocks }: Filled): string[] {
  const root = host().inside(STATE);
  const uuids = Object.values(blocks);
  const names = readdirSync(root, { recursive: true, encoding: "utf8" });
  return names.filter((name) => !name.startsWith("shred/") && uuids.some((uuid) => name.includes(uuid)));
}

async function expectShredded(all: Filled): Promise<void> {
  expect(await opening(all)).toEqual([]);
  expect(filesAbout(all)).toEqual([]);
  expect(await host().keystore().list()).toEqual([]);
  expect(await host().libvirt.secretsLeft()).toEqual([]);
  const records = join(STATE, "shred/records");
  const names = readdirSync(host().inside(records));
  for (const uuid of Object.values(all.blocks)) {
    const of = names.filter((name) => name.startsWith(uuid));
    expect(of.length).toBeGreaterThan(0);
    for (const name of of)
      expect(await host().must("shred", "verify", join(records, name))).toContain("of guest web1");
  }
  expect(readdirSync(host().inside(join(STATE, "shred")))).toEqual(["records"]);
}

async function expectRefused(all: Filled, args: readonly string[], code: number, why: string): Promise<void> {
  const before = [await opening(all), filesAbout(all)];
  const { exitCode, stderr } = await host().luksmith(...args);
  expect([exitCode, stderr]).toEqual([code, expect.stringContaining(why)]);
  expect([await opening(all), filesAbout(all)]).toEqual(before);
}

/** In a terminal, whose user types this. */
async function typed(text: string, ...args: readonly string[]): Promise<{ code: number; said: string }> {
  const command = host()
    .command(...args)
    .map((word) => `'${word}'`);
  const script = ["script", "--quiet", "--return", "--command", command.join(" "), "/dev/null"];
  const { exitCode, stdout } = await host().libvirt.exec(script, { input: `${text}\n` });
  return { code: exitCode, said: stdout };
}

/** As somebody who has logged in, and become root with sudo. */
async function as(uid: number, ...args: readonly string[]): ReturnType<ReturnType<typeof host>["luksmith"]> {
  const login = '[ ! -e /proc/self/loginuid ] || echo "$0" > /proc/self/loginuid; exec "$@"';
  const person = ["env", `SUDO_UID=${uid}`, "sh", "-c", login, String(uid)];
  return host().libvirt.exec([...person, ...host().command(...args)]);
}

describe("a guest's disks are shredded", () => {
  it("by the guest's name, typed, and nothing opens them any more", { timeout: 300_000 }, async () => {
    const all = await filled();
    await host().start(all.guest);
    const [secret = ""] = await host().libvirt.secretsLeft();
    const xml = await host().libvirt.virsh("secret-dumpxml", secret);
    await expectRefused(all, SHRED, 3, "its guest runs");
    await host().stop(all.guest);
    // as a hook that was killed leaves it
    const path = join(host().libvirt.dir, "secret.xml");
    await writeFile(path, xml);
    await host().libvirt.virsh("secret-define", path);
    expect(await host().libvirt.secretsLeft()).toEqual([secret]);

    const wrong = await typed("web2", "shred", "web1");
    expect([wrong.code, wrong.said]).toEqual([3, expect.stringContaining("web1 was not typed")]);
    expect(await opening(all)).toHaveLength(4);
    await expectRefused(all, ["shred", "web1", "--yes-i-mean", "web2"], 3, "nothing is destroyed");
    await expectRefused(all, ["shred", "web1"], 2, "there is no terminal");
    expect(filesAbout(all).filter((name) => name.startsWith("headers/")).length).toBeGreaterThan(0);
    expect(filesAbout(all).filter((name) => name.startsWith("escrow/"))).toHaveLength(2);
    expect(await host().keystore().list()).toHaveLength(4);

    const { code, said } = await typed("web1", "shred", "web1");
    expect([code, said]).toEqual([0, expect.stringContaining("shredded: disk vdb of guest web1")]);
    await expectShredded(all);
    await expect(host().start(all.guest)).rejects.toThrow();
    const again = await host().luksmith(...SHRED);
    expect([again.exitCode, again.stderr]).toEqual([3, expect.stringContaining("that was done before")]);
  });

  it("not while another guest's configuration has one of them", { timeout: 300_000 }, async () => {
    const all = await filled();
    const [vda] = all.guest.disks;
    const other = await host().define({ name: "web2", disks: [{ ...vda!, dev: "vdc" }] });
    await expectRefused(all, SHRED, 3, "disk vdc of guest web2");
    const named = ["shred", "--volume", vda!.path, "--yes-i-mean", vda!.path];
    await expectRefused(all, named, 3, "has it");
    await host().libvirt.virsh("undefine", other.uuid);
    await host().must(...SHRED, "vda");
    expect(await opening(all)).toEqual(["vdb 1", "vdb 2"]);
    // the other one is shredded by the next call, which takes what is left
    await host().must(...SHRED);
    await expectShredded(all);
  });

  it("by two persons where the settings want that", { timeout: 300_000 }, async () => {
    const all = await filled();
    await host().settings({ version: 1, shred: { persons: 2 } });
    await expectRefused(all, SHRED, 3, "cannot tell who you are");
    expect((await as(1000, ...SHRED)).stderr).toContain("nobody has requested this");
    expect((await as(1000, "shred", "request", "web1")).exitCode).toBe(0);
    expect((await as(1000, ...SHRED)).stderr).toContain("you have requested it yourself");
    expect((await as(1001, ...SHRED, "vda")).stderr).toContain("nobody has requested this");
    expect(await opening(all)).toHaveLength(4);
    const { exitCode, stdout } = await as(1001, ...SHRED);
    expect(exitCode).toBe(0);
    await expect(readRecord(stdout)).resolves.toMatchObject([
      { uid: 1000, role: "requested" },
      { uid: 1001, role: "shredded" },
    ]);
    expect(readdirSync(host().inside(join(STATE, "shred/requests")))).toEqual([]);
  });

  it("also when it is killed at any call, by the next one", { timeout: 600_000 }, async () => {
    const all = await filled();
    const reset = await keepWorld(host());
    const process = { argv: host().command(...SHRED) };
    const points = someOf(await killPoints(host(), process), 10);
    let kills = 0;
    for (const point of points) {
      await reset();
      if ((await runAndKill(host(), process, point)) === "killed") kills++;
      // a header that is there has its key
      const open = await opening(all);
      for (const [dev, uuid] of Object.entries(all.blocks))
        if (open.some((name) => name.startsWith(dev)))
          expect(await textOf(uuid)).toBe(all.known.get(dev)![1]);
      const { exitCode, stderr } = await host().luksmith(...SHRED);
      if (exitCode !== 0)
        expect([exitCode, stderr]).toEqual([3, expect.stringContaining("that was done before")]);
      await expectShredded(all);
    }
    expect(kills).toBeGreaterThan(points.length / 2);
  });
});

it(
  "a start that comes while disks are shredded waits, and finds no header",
  { timeout: 300_000 },
  async () => {
    const all = await filled();
    const shredding = host().luksmith(...SHRED);
    const notes = host().inside(join(STATE, "shred"));
    while (!existsSync(notes)) await new Promise((done) => setTimeout(done, 5));
    const started = await host().libvirt.exec(["virsh", "-c", "qemu:///system", "start", all.guest.uuid]);
    const { exitCode, stderr } = await shredding;
    expect([exitCode, stderr]).toEqual([0, ""]);
    expect(started.exitCode).toBe(1);
    expect(await host().isRunning(all.guest)).toBe(false);
    await expectShredded(all);
  },
);

it("a volume that no guest has is shredded by its path", { timeout: 300_000 }, async () => {
  const all = await filled();
  await host().libvirt.virsh("undefine", all.guest.uuid);
  const [vda] = all.guest.disks;
  await host().must("shred", "--volume", vda!.path, "--yes-i-mean", vda!.path);
  expect(await opening(all)).toEqual(["vdb 1", "vdb 2"]);
});

/** The persons of the record that the command names last. */
async function readRecord(said: string): Promise<unknown> {
  const path = /^record: (.*)$/m.exec(said)![1]!;
  const { record } = JSON.parse(await readFile(host().inside(path), "utf8")) as {
    record: { persons: unknown };
  };
  return record.persons;
}
