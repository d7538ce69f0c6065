import { describe, expect, it } from "vitest";
import { CATALOGUE } from "../../src/error/catalogue.js";
import { hostForThisFile } from "./support/each-test.js";
import { FLAVOR_ASKS, type TestGuest } from "./support/guests.js";
import { hookCall, savedStart } from "./support/hook-calls.js";
import { luksUuidOf, opensWith } from "./support/volumes.js";

const host = hostForThisFile();

/** Each disk has one header, which its one key opens. */
async function expectWhole(guest: TestGuest): Promise<void> {
  const blocks = await host().blocks(guest);
  for (const { dev, path, format } of guest.disks) {
    expect(await luksUuidOf(path, format)).toBe(blocks[dev]);
    const { passphrase } = await host().key(blocks[dev]);
    using secret = passphrase;
    expect(await opensWith(path, format, secret)).toBe(true);
  }
}

/**
 * Runs the command three times at the same time. All end well, or say that another one is at work: each disk was
 * formatted by one of them.
 */
async function threeAtOnce(argv: readonly string[], stdin = ""): Promise<void> {
  const ended = await Promise.all([1, 2, 3].map(() => host().libvirt.exec(argv, { input: stdin })));
  expect(ended.map(({ exitCode }) => exitCode)).toContain(0);
  const log = await host().log();
  expect(log.flatMap(({ code }) => code ?? []).filter((code) => code !== "LOCK_TIMEOUT")).toEqual([]);
  expect(ended.filter(({ exitCode }) => exitCode !== 0)).toHaveLength(log.filter(({ code }) => code).length);
}

const formats = async () =>
  (await host().log()).flatMap(({ steps = [] }) => steps).filter((kind) => kind === "format");

describe("three hooks of one guest's start at once", () => {
  it.each<[what: string, define: () => Promise<TestGuest>]>([
    [
      "was protected",
      async () => {
        const guest = await host().guest("web1", ["raw", "qcow2"]);
        await host().must("protect", "web1");
        return guest;
      },
    ],
    [
      "an orchestrator defined",
      () => host().guest("web1", ["raw", "qcow2"], { metadata: FLAVOR_ASKS, blocks: "of unknown keys" }),
    ],
  ])("format each disk of a guest that %s once, under one key", async (_, define) => {
    const guest = await define();
    const { argv, stdin } = hookCall(host(), "pre-start", guest, await savedStart(host(), guest));
    await threeAtOnce(argv, stdin);
    await expectWhole(guest);
    expect(await formats()).toHaveLength(2);
    expect(await host().keystore().list()).toHaveLength(2);
    await host().start(guest);
  });
});

describe("three times protect at once", () => {
  it.each([[[]], [["--now"]]])("%j leaves a guest that starts from keys that are there", async (options) => {
    const guest = await host().guest("web1", ["raw", "qcow2"]);
    await threeAtOnce(host().command("protect", "web1", ...options));
    expect(await host().keystore().list()).toHaveLength(2);
    await host().start(guest);
    await expectWhole(guest);
    expect(await formats()).toHaveLength(2);
  });
});

it("a running guest is not protected, and stays as it is", async () => {
  const guest = await host().guest("web1", ["raw"]);
  const definition = await host().definition(guest);
  await host().start(guest);
  expect((await host().luksmith("protect", "web1", "--dry-run")).exitCode).toBe(CATALOGUE.GUEST_RUNNING.exit);
  expect((await host().refusedProtect("web1", "--now")).code).toBe("GUEST_RUNNING");
  expect(await host().definition(guest)).toBe(definition);
  expect(await host().json("keys", "list")).toEqual({ keys: [] });
});
