import { expect, it } from "vitest";
import { twoHostsForThisFile } from "./support/each-test.js";
import type { TestGuest } from "./support/guests.js";
import { inGuest } from "./support/in-guest.js";
import type { LuksmithHost } from "./support/luksmith-host.js";
import { bytesAt, holds } from "./support/mapped.js";
import { COPY, diskOn, disksApart, emptyVolumes, keysOf, settled } from "./support/storage-copy.js";
import { type ImageFormat, luksUuidOf, makeVolume, MIB, opensWith } from "./support/volumes.js";
import { checkWriting, defineWriter, MAGIC, writesOn } from "./support/writing-guest.js";

const hosts = twoHostsForThisFile();

/** Of raw volumes. */
const HEADER = 2 * MIB;

it.each<ImageFormat>(["raw", "qcow2"])(
  "a %s volume at the target gets a key of its own, and the guest goes on with all that it wrote",
  async (format) => {
    const { a, b } = hosts();
    const guest = await writer(format);
    const [disk, copy] = [diskOn(a, guest.disks[0]!), diskOn(b, guest.disks[0]!)];
    await inGuest(a, guest, 0, "write -P 0x5a 4M 64k");
    const { vda: oldKey } = await a.blocks(guest);
    await emptyVolumes(b, guest.disks);
    const before = await writesOn(a, guest);

    expect(await hosts().migrate(guest, a, b, COPY)).toMatchObject({ exitCode: 0, stderr: "" });

    const after = await writesOn(b, guest);
    expect(after).toMatchObject({ began: before.began, fault: "none" });
    const { vda: newKey } = await settled(b, guest);
    expect(newKey).not.toBe(oldKey);
    expect(await luksUuidOf(copy.path, format)).toBe(newKey);
    // neither host learnt a key of the other, and nothing is left at the source but its volume
    expect([await keysOf(a), await keysOf(b)]).toEqual([[oldKey], [newKey]]);
    expect(await a.guests()).toEqual({ running: [], all: [] });
    expect(await luksUuidOf(disk.path, format)).toBe(oldKey);

    await b.stop(guest);
    using passphrase = (await b.key(newKey)).passphrase;
    using oldPassphrase = (await a.key(oldKey)).passphrase;
    const { round, written } = await checkWriting(copy, passphrase);
    expect(written).toBeGreaterThanOrEqual(after.written);
    expect(await opensWith(copy.path, format, oldPassphrase)).toBe(false);
    for (const plaintext of [Buffer.from(MAGIC), Buffer.alloc(64, 0x5a)])
      expect(holds(copy.path, plaintext)).toBe(false);
    if (format === "raw") {
      // same place, same content: only another volume key makes other bytes of it
      const [there, here] = [copy, disk].map(({ path }) => bytesAt(path, HEADER + 4 * MIB, 4096));
      expect(there).not.toEqual(here);
      expect(there!.equals(Buffer.alloc(4096))).toBe(false);
    }

    await b.start(guest);
    expect((await writesOn(b, guest)).began).toBe(round + 1);
    expect(await inGuest(b, guest, 0, "read -P 0x5a 4M 64k")).toBe("read 65536/65536");
  },
);

it("a guest goes back onto the volume that it came from, whose key is used again", async () => {
  const { a, b } = hosts();
  const guest = await writer("raw");
  const keys: Record<string, string>[] = [await a.blocks(guest)];
  await emptyVolumes(b, guest.disks);
  for (const [from, to] of [
    [a, b],
    [b, a],
  ] as const) {
    await writesOn(from, guest);
    expect(await hosts().migrate(guest, from, to, COPY)).toMatchObject({ exitCode: 0, stderr: "" });
    await writesOn(to, guest);
    keys.push(await settled(to, guest));
  }
  expect(keys[2]).toEqual(keys[0]);
  expect([await keysOf(a), await keysOf(b)]).toEqual([[keys[0]!["vda"]], [keys[1]!["vda"]]]);
  await expectWritten(a, guest);
});

it("of two disks one is copied, the other one is shared", async () => {
  const { a, b } = hosts();
  const shared = { dev: "vda", format: "raw", path: a.newPath("raw") } as const;
  await makeVolume(shared.path, "raw");
  const [, copied] = await disksApart(hosts(), "web1", ["raw", "qcow2"]);
  const guest = await defineWriter(a, { name: "web1", disks: [shared, copied!] });
  await a.must("protect", "web1");
  await hosts().shareKeys();
  await a.start(guest);
  await inGuest(a, guest, 1, "write -P 0x5a 4M 64k");
  await writesOn(a, guest);
  const before = await a.blocks(guest);
  await emptyVolumes(b, [copied!]);

  const flags = [COPY, "--migrate-disks", "vdb"];
  expect(await hosts().migrate(guest, a, b, ...flags)).toMatchObject({ exitCode: 0, stderr: "" });

  await writesOn(b, guest);
  const { vda, vdb } = await settled(b, guest);
  expect(vda).toBe(before["vda"]);
  expect(vdb).not.toBe(before["vdb"]);
  expect(await keysOf(b)).toEqual([vdb]);
  expect(await inGuest(b, guest, 1, "read -P 0x5a 4M 64k")).toBe("read 65536/65536");
  await b.stop(guest);
  await b.start(guest);
  expect(await inGuest(b, guest, 1, "read -P 0x5a 4M 64k")).toBe("read 65536/65536");
});

/** Runs at a. */
async function writer(format: ImageFormat): Promise<TestGuest> {
  const { a } = hosts();
  const disks = await disksApart(hosts(), "web1", [format]);
  const guest = await defineWriter(a, { name: "web1", disks });
  await a.must("protect", "web1");
  await a.start(guest);
  await writesOn(a, guest);
  return guest;
}

async function expectWritten(host: LuksmithHost, guest: TestGuest): Promise<void> {
  await host.stop(guest);
  const { vda } = await host.blocks(guest);
  using passphrase = (await host.key(vda)).passphrase;
  await checkWriting(diskOn(host, guest.disks[0]!), passphrase);
}
