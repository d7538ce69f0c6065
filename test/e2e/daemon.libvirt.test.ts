import { chmod, rename } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it, vi } from "vitest";
import { CATALOGUE } from "../../src/error/catalogue.js";
import { hostForThisFile } from "./support/each-test.js";
import { FLAVOR_ASKS, type TestGuest } from "./support/guests.js";
import { hashOf } from "./support/volumes.js";

const host = hostForThisFile();

async function running(name = "web1"): Promise<TestGuest> {
  const guest = await host().guest(name, ["raw", "qcow2"]);
  await host().must("protect", name);
  await host().start(guest);
  return guest;
}

const secrets = async () => (await host().libvirt.secretsLeft()).sort();
const lastRecord = async () => (await host().log()).at(-1);

describe("a restart of libvirtd under a running guest", () => {
  it("brings its host secrets back", async () => {
    const guest = await running();
    const before = await secrets();
    expect(before).toHaveLength(2);
    await host().libvirt.restartDaemon();
    await vi.waitUntil(async () => (await secrets()).length > 0, { timeout: 30_000 });
    expect(await secrets()).toEqual(before);
    expect(await host().isRunning(guest)).toBe(true);
  });

  it.each<[what: string, breakIt: () => Promise<void>, mend: () => Promise<void>]>([
    [
      "the keystore cannot be used",
      () => chmod(host().keystoreDirectory, 0o755),
      () => chmod(host().keystoreDirectory, 0o700),
    ],
    ["the settings are broken", () => host().settings("{"), () => host().settings({ version: 1 })],
  ])("does not end it when %s", async (_, breakIt, mend) => {
    const guest = await running();
    await breakIt();
    await host().libvirt.restartDaemon();
    expect(await host().isRunning(guest)).toBe(true);
    await mend();
    await host().libvirt.restartDaemon();
    await vi.waitUntil(async () => (await secrets()).length === 2, { timeout: 30_000 });
    expect(await host().isRunning(guest)).toBe(true);
  });
});

it("commands say that libvirtd is gone, and work when it is back", async () => {
  const guest = await running();
  await host().libvirt.stopDaemon();
  try {
    for (const args of [["status"], ["protect", "web1"], ["plan", "post-stop", "web1"], ["capabilities"]]) {
      const { exitCode, stderr } = await host().luksmith(...args);
      expect(exitCode).toBe(CATALOGUE.HOST_UNAVAILABLE.exit);
      expect(stderr).toMatch(/^error: cannot reach libvirt .*\ncause: .*\nhint: /);
    }
    const doctor = JSON.parse((await host().luksmith("doctor", "--json")).stdout) as { ok: boolean };
    expect(doctor.ok).toBe(false);
    await host().must("settings", "get");
  } finally {
    await host().libvirt.startDaemon();
  }
  await vi.waitUntil(async () => (await secrets()).length === 2, { timeout: 30_000 });
  expect(await host().isRunning(guest)).toBe(true);
});

it("a plain guest that the settings do not allow any more runs on, and does not start again", async () => {
  const guest = await host().guest("web1", ["raw"]);
  await host().start(guest);
  await host().settings({ version: 1, rules: [{ name: "all" }] });
  await host().libvirt.restartDaemon();
  expect(await host().isRunning(guest)).toBe(true);
  await host().stop(guest);
  expect((await host().refusedStart(guest)).code).toBe("DISK_NOT_ENCRYPTED");
});

describe("a guest whose memory was saved", () => {
  it("resumes with its passphrases, and never has a disk formatted", async () => {
    const guest = await running();
    const before = await secrets();
    await host().libvirt.virsh("managedsave", guest.uuid);
    expect(await secrets()).toEqual([]);
    await host().start(guest);
    expect(await secrets()).toEqual(before);
    const causes = (await host().log()).flatMap(({ cause, steps }) =>
      cause === undefined ? [] : [[cause, steps]],
    );
    expect(causes.slice(1)).toEqual([
      ["stop", ["withdraw-secrets"]],
      ["restore", ["provide-secrets"]],
      ["start", ["provide-secrets"]],
    ]);
  });

  it("does not resume without its key, and resumes with it", async () => {
    const guest = await host().guest("web1", ["raw"], { metadata: FLAVOR_ASKS });
    await host().must("protect", "web1");
    await host().start(guest);
    await host().libvirt.virsh("managedsave", guest.uuid);
    const record = join(
      host().keystoreDirectory,
      "records",
      `${(await host().blocks(guest))["vda"] ?? ""}.json`,
    );
    await rename(record, `${record}.away`);
    expect((await host().refusedStart(guest)).code).toBe("KEY_NOT_FOUND");
    await rename(`${record}.away`, record);
    await host().start(guest);
    expect((await lastRecord())?.cause).toBe("start");
    expect(await host().libvirt.virsh("domstate", guest.uuid)).toContain("running");
  });
});

it("a guest whose memory was saved is not protected, and resumes as it was", async () => {
  const guest = await host().guest("web1", ["raw"]);
  const [{ path } = { path: "" }] = guest.disks;
  const before = await hashOf(path);
  await host().start(guest);
  await host().libvirt.virsh("managedsave", guest.uuid);
  expect((await host().refusedProtect("web1", "--now")).code).toBe("GUEST_RUNNING");
  expect(await hashOf(path)).toBe(before);
  expect(await host().json("keys", "list")).toEqual({ keys: [] });
  await host().start(guest);
});

it("a foreign hook beside ours sees every call, and ours works", async () => {
  await host().libvirt.recordHooks();
  const guest = await running();
  await host().stop(guest);
  expect((await host().libvirt.hookLog()).map(({ operation }) => operation)).toEqual([
    ...["prepare", "start", "started", "stopped", "release"],
  ]);
  expect((await host().log()).flatMap(({ event }) => event ?? [])).toEqual(["pre-start", "post-stop"]);
  await host().libvirt.exec(["rm", "/etc/libvirt/hooks/qemu"]);
});
