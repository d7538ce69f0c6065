import { rm } from "node:fs/promises";
import { expect, it, vi } from "vitest";
import type { ExecResult } from "../lab/libvirt-host.js";
import { twoHostsForThisFile } from "./support/each-test.js";
import type { TestGuest } from "./support/guests.js";
import { inGuest } from "./support/in-guest.js";
import { leftBehind } from "./support/leftovers.js";
import type { LuksmithHost } from "./support/luksmith-host.js";
import { COPY, diskOn, disksApart, emptyVolumes, keysOf, refusedMigration } from "./support/storage-copy.js";
import { hashOf } from "./support/volumes.js";

const hosts = twoHostsForThisFile();
const TIMEOUT = { timeout: 120_000 };

it("the definition of a guest that is shut off does not come to a new volume: nothing would be copied", async () => {
  const { a, b } = hosts();
  const guest = await shutOff();
  await emptyVolumes(b, guest.disks);
  const { path } = diskOn(b, guest.disks[0]!);
  const before = await hashOf(path);
  const alone = expect.stringContaining("the guest is shut off, and its definition comes alone") as string;
  expect(await offline(guest)).toMatchObject({ exitCode: 1, stderr: alone });
  expect([await hashOf(path), await keysOf(b)]).toEqual([before, []]);

  // one that looks as if it ran comes, and does not start
  await redefine(a, guest, (xml) => xml.replaceAll("<target dev=", "<backingStore/><target dev="));
  expect(await offline(guest)).toMatchObject({ exitCode: 0 });
  const empty = expect.stringContaining("disk vda may not have the guest's data") as string;
  for (let attempt = 0; attempt < 2; attempt++) {
    const started = await b.libvirt.exec(["virsh", "-c", "qemu:///system", "start", guest.uuid]);
    expect(started).toMatchObject({ exitCode: 1, stderr: empty });
    await b.must("reap");
  }
  await b.libvirt.virsh("undefine", guest.uuid);
  // nobody forgets it sooner than 5 minutes later
  await rm(b.inside(`/var/lib/luksmith/arrivals`), { recursive: true });
});

it("a disk that guests share is never copied by libvirt, so it does not come to a new volume", async () => {
  const { a, b } = hosts();
  const guest = await a.define({ name: "web1", disks: await disksApart(hosts(), "web1", ["raw", "raw"]) });
  await redefine(a, guest, (xml) => xml.replace(/(<target dev='vdb'[^>]*\/>)/, "$1<shareable/>"));
  await a.must("protect", "web1");
  await a.start(guest);
  await emptyVolumes(b, guest.disks);
  const refused = await refusedMigration(hosts(), guest, COPY);
  expect(refused).toMatchObject({
    code: "VOLUME_NOT_FORMATTED",
    stderr: expect.stringMatching(/vdb/) as string,
  });
  expect(await keysOf(b)).toEqual([]);
});

it("a copy that is cut short is not named by a definition that the target had before", TIMEOUT, async () => {
  const { a, b } = hosts();
  const guest = await running();
  const definition = await a.definition(guest);
  await b.libvirt.define(definition);
  const before = await b.blocks(guest);
  await emptyVolumes(b, guest.disks);

  const migrating = hosts().migrate(guest, a, b, COPY, "--bandwidth", "1");
  await vi.waitFor(
    async () => {
      const job = await a.libvirt.virsh("blockjob", guest.uuid, "vda", "--raw");
      expect(Number(/cur=(\d+)/.exec(job)?.[1])).toBeGreaterThan(1024 * 1024);
    },
    { timeout: 20_000, interval: 50 },
  );
  await a.libvirt.virsh("domjobabort", guest.uuid);
  expect(await migrating).toMatchObject({ exitCode: 1 });

  await vi.waitFor(() => expect(leftBehind(b)).toEqual([]), { timeout: 20_000, interval: 100 });
  expect(await b.blocks(guest)).toEqual(before);
  const started = await b.libvirt.exec(["virsh", "-c", "qemu:///system", "start", guest.uuid]);
  expect(started.exitCode).toBe(1);
  expect(await inGuest(a, guest, 0, "read -P 0x5a 4M 64k")).toBe("read 65536/65536");
});

async function running(): Promise<TestGuest> {
  const { a } = hosts();
  const guest = await a.define({ name: "web1", disks: await disksApart(hosts(), "web1", ["raw"]) });
  await a.must("protect", "web1");
  await a.start(guest);
  await inGuest(a, guest, 0, "write -P 0x5a 4M 64k");
  return guest;
}

/** It has run. */
async function shutOff(): Promise<TestGuest> {
  const guest = await running();
  await hosts().a.stop(guest);
  return guest;
}

async function redefine(
  host: LuksmithHost,
  guest: TestGuest,
  change: (xml: string) => string,
): Promise<void> {
  await host.libvirt.define(change(await host.definition(guest)));
}

async function offline({ uuid }: TestGuest): Promise<ExecResult> {
  const { a, b } = hosts();
  const how = ["migrate", "--offline", "--persistent", "--undefinesource"];
  return await a.libvirt.exec(["virsh", "-c", "qemu:///system", ...how, uuid, hosts().uri(b)]);
}
