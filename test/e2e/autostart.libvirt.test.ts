import { rm } from "node:fs/promises";
import { expect, it, vi } from "vitest";
import { hostForThisFile } from "./support/each-test.js";

const host = hostForThisFile();

/** What a reboot does to libvirtd: it has not started anybody yet. */
async function restartAsAfterBoot(): Promise<void> {
  const { libvirt } = host();
  await libvirt.stopDaemon();
  await rm(host().inside("/run/libvirt/qemu/autostarted"), { force: true });
  await libvirt.startDaemon();
}

it("guests that are marked for autostart run after libvirtd was started, though their hooks cannot reach it", async () => {
  const guests = await Promise.all(["web1", "web2"].map((name) => host().guest(name, ["raw"])));
  for (const { name } of guests) {
    await host().must("protect", name, "--now");
    await host().libvirt.virsh("autostart", name);
  }
  await restartAsAfterBoot();
  for (const guest of guests) {
    await vi.waitUntil(() => host().isRunning(guest), { timeout: 40_000, interval: 200 });
  }
  const refusals = (await host().log()).filter(({ code }) => code === "HOST_UNAVAILABLE");
  expect(refusals.some(({ what }) => what?.includes("libvirt is starting itself"))).toBe(true);
  expect(await host().libvirt.secretsLeft()).toHaveLength(2);
});

it("a guest that is not marked is not started by anybody", async () => {
  const guest = await host().guest("web1", ["raw"]);
  await host().must("protect", "web1", "--now");
  await restartAsAfterBoot();
  expect(await host().isRunning(guest)).toBe(false);
});
