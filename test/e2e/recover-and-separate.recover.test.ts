import { execa } from "execa";
import { existsSync, readdirSync } from "node:fs";
import { copyFile, readFile, rm, writeFile } from "node:fs/promises";
import { createHash, randomUUID } from "node:crypto";
import { setTimeout } from "node:timers/promises";
import { expect, it } from "vitest";
import { hostForThisFile } from "./support/each-test.js";
import type { TestGuest } from "./support/guests.js";

const host = hostForThisFile();
const ESCROW = "/var/lib/luksmith/escrow";

async function identity(
  name = "identity.txt",
): Promise<{ readonly path: string; readonly recipient: string }> {
  const path = host().inside(`/etc/luksmith/${name}`);
  const { stdout } = await execa("age-keygen");
  await writeFile(path, stdout, { mode: 0o600 });
  return { path: `/etc/luksmith/${name}`, recipient: /public key: (age1\S+)/.exec(stdout)![1]! };
}

const digest = async ({ disks }: TestGuest) =>
  createHash("sha256")
    .update(await readFile(disks[0]!.path))
    .digest("hex");

it(
  "brings a guest back whose keystore is lost, with what the settings had escrowed",
  { timeout: 300_000 },
  async () => {
    const { path, recipient } = await identity();
    const profiles = [{ name: "default", recovery: [recipient] }];
    await host().settings({ version: 1, profiles });
    const guest = await host().guest("web1", ["raw"]);
    await host().must("protect", "web1", "--now");
    const { vda: uuid } = await host().blocks(guest);
    const file = `${ESCROW}/${uuid!}.7.age`;
    expect(existsSync(host().inside(file))).toBe(true);
    expect(await host().must("drill", "web1", "--identity", path)).toContain("web1 vda: passed");

    await rm(host().keystoreDirectory, { recursive: true });
    // no keystore has the key: the block is taken for somebody else's, and libvirt lacks its secret
    await expect(host().start(guest)).rejects.toThrow("Secret not found");
    const emergency = await host().luksmith("drill", "web1", "--identity", path);
    expect(emergency.exitCode).toBe(5);
    expect(emergency.stdout.trim().split("\n").at(-1)).toContain(`--escrow ${file} --identity FILE --store`);
    await host().settings("broken");
    const volume = guest.disks[0]!.path;
    expect(await host().must("recover", volume, "--escrow", file, "--identity", path)).toContain(
      "opens keyslot 7",
    );
    await host().settings({ version: 1, profiles });
    const said = await host().must(
      "recover",
      volume,
      "--escrow",
      file,
      "--identity",
      path,
      "--store",
      "local",
    );
    expect(said).toContain("disk vda of web1 opens again");
    expect(said).toContain(`recovery keyslots in its record: 7 (${recipient})`);

    await host().start(guest);
    expect((await host().key(uuid)).record).toMatchObject({
      state: "active",
      guest: { name: "web1" },
      disk: "vda",
    });
    // that of the lost keystore is still there, for the administrator to see
    const drill = await host().must("drill", "web1", "--identity", path);
    expect(drill).toContain("web1 vda: passed");
    expect(drill).toContain("nobody knows what opens keyslot 0");
    expect(drill).toContain("luksmith escrow remove web1 vda 0 --unknown");
    await host().must("escrow", "remove", "web1", "vda", "0", "--unknown");
    const after = await host().must("drill", "web1", "--identity", path);
    expect(after).toContain("every one is accounted for");
    // what one has already is not made again
    const again = await host().must("escrow", "add", "web1", "vda", "--recipient", recipient);
    expect(again).toContain("nothing to do");
    const other = await identity("other.txt");
    expect(await host().must("escrow", "add", "web1", "vda", "--recipient", other.recipient)).toContain(
      "recovery keyslot 6 added",
    );
  },
);

it("adds behind a guest's first start what the settings want", { timeout: 300_000 }, async () => {
  const { recipient } = await identity();
  await host().settings({ version: 1, profiles: [{ name: "default", recovery: [recipient] }] });
  const guest = await host().guest("web2", ["qcow2"]);
  await host().must("protect", "web2");
  await host().start(guest);
  const directory = host().inside(ESCROW);
  const files = () =>
    existsSync(directory) ? readdirSync(directory).filter((name) => name.endsWith(".age")) : [];
  for (let tries = 0; tries < 300 && files().length === 0; tries++) await setTimeout(200);
  expect(files()).toHaveLength(1);
});

it(
  "gives a cloned guest's disk a key of its own, and leaves the original alone",
  { timeout: 300_000 },
  async () => {
    const original = await host().guest("web3", ["qcow2"]);
    await host().must("protect", "web3", "--now");
    const { vda: uuid } = await host().blocks(original);
    const copy = host().newPath("qcow2");
    await copyFile(original.disks[0]!.path, copy);
    const disks = [{ ...original.disks[0]!, path: copy, secretUuid: uuid! }];
    const clone = await host().define({ name: "web3-clone", uuid: randomUUID(), disks });
    await host().start(clone);
    const warned = (await host().log()).map(({ message }) => message);
    expect(warned.join("\n")).toContain("luksmith separate web3-clone vda");
    expect((await host().luksmith("separate", "web3-clone")).exitCode).not.toBe(0);
    await host().stop(clone);
    const before = await digest(original);

    expect(await host().must("separate", "web3-clone")).toContain("of its own");

    const { vda: own } = await host().blocks(clone);
    expect(own).not.toBe(uuid);
    expect(await digest(original)).toBe(before);
    expect(await host().must("separate", "web3-clone")).toContain("was made for it");
    await host().start(clone);
    await host().start(original);
  },
);
