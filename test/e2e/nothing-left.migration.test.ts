import { randomUUID } from "node:crypto";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { expect, it } from "vitest";
import { twoHostsForThisFile } from "./support/each-test.js";
import { expectNothingLeft } from "./support/nothing-left.js";

// what tests with two hosts end with finds what only migrations leave

const hosts = twoHostsForThisFile();
const ARRIVALS = "/var/lib/luksmith/arrivals";

it("finds the note about a guest that does not arrive, and leaves alone that of one that runs", async () => {
  const { b } = hosts();
  const guest = await b.define({ name: "web1", disks: [] });
  await mkdir(b.inside(ARRIVALS));
  await writeFile(b.inside(`${ARRIVALS}/${guest.uuid}.json`), "{}");
  await expect(expectNothingLeft(b)).rejects.toThrow(/^notes of guests that do not arrive/);
  await b.start(guest);
  await expectNothingLeft(b);
  await rm(b.inside(ARRIVALS), { recursive: true });
});

it("finds a domain that only asked another host", async () => {
  const { a } = hosts();
  const probe = await a.define({ name: `luksmith-check-${randomUUID()}`, disks: [] });
  await expect(expectNothingLeft(a)).rejects.toThrow(/^domains of a check/);
  await a.libvirt.virsh("undefine", probe.uuid);
});

it("finds a passphrase of the other host", async () => {
  const { a, b } = hosts();
  const guest = await a.guest("web1", ["raw"]);
  await a.must("protect", "web1");
  const { passphrase } = await a.key((await a.blocks(guest))["vda"]);
  using secret = passphrase;
  const left = b.inside("/var/log/luksmith/left");
  await writeFile(
    left,
    secret.use((bytes) => Buffer.from(bytes)),
  );
  await expectNothingLeft(b);
  await expect(expectNothingLeft(b, [a, b])).rejects.toThrow(/^places that hold a passphrase/);
  await rm(left);
});
