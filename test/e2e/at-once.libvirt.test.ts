import { describe, expect, it } from "vitest";
import type { ExecResult } from "../lab/libvirt-host.js";
import { hostForThisFile } from "./support/each-test.js";
import { FLAVOR_ASKS, type TestGuest } from "./support/guests.js";
import { hookCall, savedStart } from "./support/hook-calls.js";
import { hashOf, luksUuidOf, opensWith } from "./support/volumes.js";

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

/** The hook of the guest's start, three times at the same time. */
async function startHooks(guest: TestGuest): Promise<readonly ExecResult[]> {
  const { argv, stdin } = hookCall(host(), "pre-start", guest, await savedStart(host(), guest));
  const hashes = await Promise.all(guest.disks.map(({ path }) => hashOf(path)));
  const ended = await Promise.all([1, 2, 3].map(() => host().libvirt.exec(argv, { input: stdin })));
  expect(await Promise.all(guest.disks.map(({ path }) => hashOf(path)))).not.toEqual(hashes);
  return ended;
}

describe("three hooks of one guest's start at once", () => {
  it("format its new disks once", async () => {
    const guest = await host().guest("web1", ["raw", "qcow2"]);
    await host().must("protect", "web1");
    const ended = await startHooks(guest);
    expect(ended.map(({ exitCode, stderr }) => ({ exitCode, stderr }))).toEqual(
      [1, 2, 3].map(() => ({ exitCode: 0, stderr: "" })),
    );
    await expectWhole(guest);
    await host().start(guest);
  });

  it("make one key for each disk that an orchestrator defined", async () => {
    const guest = await host().guest("web1", ["raw", "qcow2"], {
      metadata: FLAVOR_ASKS,
      blocks: "of unknown keys",
    });
    expect((await startHooks(guest)).map(({ exitCode }) => exitCode)).toEqual([0, 0, 0]);
    await expectWhole(guest);
    await host().start(guest);
    await expectWhole(guest);
  });
});

describe("protect, several times at once", () => {
  it.each([[[]], [["--now"]]])("%j leaves a guest that starts from keys that are there", async (options) => {
    const guest = await host().guest("web1", ["raw", "qcow2"]);
    const ended = await Promise.all([1, 2, 3].map(() => host().luksmith("protect", "web1", ...options)));
    expect(ended.map(({ exitCode }) => exitCode)).toEqual([0, 0, 0]);
    expect(await host().keystore().list()).toHaveLength(2);
    await host().start(guest);
    await expectWhole(guest);
  });
});

it("a running guest is not protected, and stays as it is", async () => {
  const guest = await host().guest("web1", ["raw"]);
  const definition = await host().definition(guest);
  await host().start(guest);
  for (const options of [[], ["--now"], ["--dry-run"]]) {
    const { exitCode, stderr } = await host().luksmith("protect", "web1", ...options);
    expect({ exitCode, stderr }).toMatchObject({
      exitCode: 3,
      stderr: expect.stringContaining("it is running") as string,
    });
  }
  expect((await host().refusedProtect("web1")).code).toBe("GUEST_RUNNING");
  expect(await host().definition(guest)).toBe(definition);
  expect(await host().json("keys", "list")).toEqual({ keys: [] });
});
