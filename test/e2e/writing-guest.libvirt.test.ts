import { expect, it } from "vitest";
import { hostForThisFile } from "./support/each-test.js";
import { inGuest } from "./support/in-guest.js";
import type { ImageFormat } from "./support/volumes.js";
import { makeVolume } from "./support/volumes.js";
import { checkWriting, defineWriter, progressOf, type Writing, writesOn } from "./support/writing-guest.js";

const host = hostForThisFile();

// what the migration tests rely on: the guest that writes notices what is wrong with its disk, and so does the check

it.each<ImageFormat>(["raw", "qcow2"])(
  "a guest that writes goes on after a restart, on %s",
  async (format) => {
    const guest = await writer(format);
    const before = await writesOn(host(), guest);
    await host().stop(guest);
    const { round, written } = await checked(guest);
    expect(written).toBeGreaterThanOrEqual(before.written);
    await host().start(guest);
    const after = await writesOn(host(), guest);
    expect(after.began).toBe(round + 1);
  },
);

it("a sector that is not what the guest wrote is noticed, by the check and by the guest", async () => {
  const guest = await writer("raw");
  await writesOn(host(), guest);
  await host().libvirt.virsh("suspend", guest.uuid);
  await inGuest(host(), guest, 0, "write -P 0 1100k 512");
  await expect(checked(guest)).rejects.toThrow(/sector 152 is not what was written/);
  await host().libvirt.virsh("resume", guest.uuid);
  await expect(writesOn(host(), guest, { rounds: 3 })).rejects.toThrow(/was stale/);
  expect((await progressOf(host(), guest))?.fault).toBe("stale");
  await host().stop(guest);
  await expect(checked(guest)).rejects.toThrow(/noted an error/);
});

async function writer(format: ImageFormat) {
  const path = host().newPath(format);
  await makeVolume(path, format);
  const guest = await defineWriter(host(), { name: "writer", disks: [{ dev: "vda", path, format }] });
  await host().must("protect", guest.name);
  await host().start(guest);
  return guest;
}

async function checked(guest: Awaited<ReturnType<typeof writer>>): Promise<Writing> {
  const { vda } = await host().blocks(guest);
  const { passphrase } = await host().key(vda);
  using secret = passphrase;
  return await checkWriting(guest.disks[0]!, secret);
}
