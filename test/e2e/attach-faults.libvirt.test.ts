import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it, vi } from "vitest";
import { hostForThisFile } from "./support/each-test.js";
import type { TestGuest } from "./support/guests.js";
import { nobodyAtWork } from "./support/leftovers.js";
import { expectNothingLeft } from "./support/nothing-left.js";
import { luksUuidOf, makeVolume } from "./support/volumes.js";

const host = hostForThisFile();
const USB = ["--bus", "usb"];

/** A running guest, and an empty volume for it. */
async function prepared(): Promise<[guest: TestGuest, path: string]> {
  const guest = await host().guest("web1", ["raw"]);
  await host().must("protect", "web1");
  await host().start(guest);
  const path = host().newPath("raw");
  await makeVolume(path, "raw");
  return [guest, path];
}

const diskOf = async (guest: TestGuest, kind: "live" | "persistent") => {
  const options = kind === "live" ? [] : ["--inactive"];
  const xml = await host().libvirt.virsh("dumpxml", ...options, guest.uuid);
  return (xml.match(/<disk .*?<\/disk>/gs) ?? []).find((disk) => disk.includes("dev='sdb'"));
};

/** How long the command takes here and now, in milliseconds. */
async function duration(work: () => Promise<unknown>): Promise<number> {
  const begin = performance.now();
  await work();
  return performance.now() - begin;
}

const MOMENTS = [0.5, 0.8, 0.95];

describe("while a disk is attached", () => {
  it(
    "the guest may stop at any moment: no secret is left, and the next attach goes on",
    { timeout: 300_000 },
    async () => {
      const [guest, path] = await prepared();
      const whole = await duration(() => host().must("attach", "web1", "sdb", path, ...USB));
      const { sdb } = await host().blocks(guest);
      await host().must("detach", "web1", "sdb");
      for (const moment of MOMENTS) {
        const attaching = host().luksmith("attach", "web1", "sdb", path, ...USB);
        await sleep(whole * moment);
        await host().stop(guest);
        const { exitCode, stderr } = await attaching;
        expect(exitCode === 0 || stderr.startsWith("error: "), stderr).toBe(true);
        await nobodyAtWork(host());
        await expectNothingLeft(host());
        await host().must("attach", "web1", "sdb", path, ...USB);
        expect((await host().blocks(guest))["sdb"]).toBe(sdb);
        await host().start(guest);
        expect(await diskOf(guest, "live")).toContain(sdb);
        await host().must("detach", "web1", "sdb");
      }
      expect(await host().keystore().list()).toHaveLength(2);
    },
  );

  it("libvirtd may be killed at any moment: the next attach goes on", { timeout: 300_000 }, async () => {
    const [guest, path] = await prepared();
    const whole = await duration(() => host().must("attach", "web1", "sdb", path, ...USB));
    await host().must("detach", "web1", "sdb");
    for (const moment of MOMENTS) {
      const attaching = host().luksmith("attach", "web1", "sdb", path, ...USB);
      await sleep(whole * moment);
      await host().libvirt.exec(["sh", "-c", "kill -9 $(cat /run/libvirtd.pid)"]);
      const { exitCode, stderr } = await attaching;
      expect(exitCode === 0 || stderr.startsWith("error: "), stderr).toBe(true);
      await host().libvirt.startDaemon();
      await vi.waitUntil(async () => (await host().libvirt.secretsLeft()).length > 0, { timeout: 30_000 });
      expect(await host().isRunning(guest)).toBe(true);
      // never plaintext
      if ((await diskOf(guest, "persistent")) !== undefined)
        expect(await luksUuidOf(path, "raw")).toBeDefined();
      await host().must("attach", "web1", "sdb", path, ...USB);
      expect(await diskOf(guest, "live")).toContain((await host().blocks(guest))["sdb"]);
      await host().must("detach", "web1", "sdb");
      expect(await diskOf(guest, "live")).toBe(undefined);
    }
    expect(await host().keystore().list()).toHaveLength(2);
    expect(await host().libvirt.secretsLeft()).toHaveLength(1);
  });
});
