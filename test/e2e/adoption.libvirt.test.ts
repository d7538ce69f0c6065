import { execa } from "execa";
import { describe, expect, it } from "vitest";
import { hostForThisFile } from "./support/each-test.js";
import { FLAVOR_ASKS } from "./support/guests.js";
import { hashOf, luksUuidOf, makeThickVolume, opensWith, writeAt } from "./support/volumes.js";

const host = hostForThisFile();

/** A guest that an orchestrator defined: its flavor asks, and its disks name keys that nobody has made. */
const orchestrated = (...formats: ("raw" | "qcow2")[]) =>
  host().guest("web1", formats, { metadata: FLAVOR_ASKS, blocks: "of unknown keys" });

describe("a guest that an orchestrator defined", () => {
  it("starts from its new disks, encrypted under the secret UUIDs that it brought", async () => {
    const guest = await orchestrated("raw", "qcow2");
    const definition = await host().definition(guest);
    await host().start(guest);
    for (const { path, format, secretUuid } of guest.disks) {
      const { record, passphrase } = await host().key(secretUuid);
      using secret = passphrase;
      expect(record).toMatchObject({ state: "active", volume: path });
      expect(await luksUuidOf(path, format)).toBe(secretUuid);
      expect(await opensWith(path, format, secret)).toBe(true);
    }
    expect(await host().definition(guest)).toBe(definition);
    const [started] = await host().log();
    expect(started?.steps).toEqual([
      ...["store-key", "store-key", "format", "format", "activate-key", "activate-key", "provide-secrets"],
    ]);
  });

  it("starts a second time without a change to its volumes", async () => {
    const guest = await orchestrated("raw");
    const [{ path } = { path: "" }] = guest.disks;
    await host().start(guest);
    await host().stop(guest);
    const hash = await hashOf(path);
    await host().start(guest);
    await host().stop(guest);
    expect(await hashOf(path)).toBe(hash);
    expect((await host().keystore().list()).map(({ state }) => state)).toEqual(["active"]);
  });

  it("does not start over a thick disk, and starts after what the hint says", async () => {
    const guest = await orchestrated("raw");
    const [{ path, format, dev } = { path: "", format: "raw" as const, dev: "" }] = guest.disks;
    await makeThickVolume(path);
    const { code, hint } = await host().refusedStart(guest);
    expect(code).toBe("VOLUME_NOT_PROVEN_EMPTY");
    expect(await host().json("keys", "list")).toEqual({ keys: [] });

    await host().define({ ...guest, disks: [{ dev, path, format }] });
    const [command = ""] = /luksmith protect [^;]*/.exec(hint) ?? [];
    expect(await host().paste(command)).toMatchObject({ exitCode: 0, stderr: "" });
    await host().start(guest);
    expect(await luksUuidOf(path, format)).toBe((await host().blocks(guest))["vda"]);
  });

  it.each([
    [
      "data of an unknown kind",
      "VOLUME_NOT_PROVEN_EMPTY",
      (path: string) => writeAt(path, 3_000_000, "somebody's"),
    ],
    ["a file system", "VOLUME_NOT_EMPTY", (path: string) => execa("mkfs.ext4", ["-q", "-F", path])],
    ["a LUKS header of an unknown key", "KEY_NOT_FOUND", luksFormat],
  ])("does not start over %s, which stays as it is", async (_, code, fill) => {
    const guest = await orchestrated("raw", "raw");
    const [empty, filled] = guest.disks.map(({ path }) => path);
    await fill(filled!, guest.disks[1]!.secretUuid!);
    const hashes = [await hashOf(empty!), await hashOf(filled!)];
    expect((await host().refusedStart(guest)).code).toBe(code);
    expect([await hashOf(empty!), await hashOf(filled!)]).toEqual(hashes);
    expect(await host().json("keys", "list")).toEqual({ keys: [] });
  });
});

it("a disk with an encryption block that nobody asked for is never formatted", async () => {
  const guest = await host().guest("web1", ["raw"], { blocks: "of unknown keys" });
  const [{ path } = { path: "" }] = guest.disks;
  const hash = await hashOf(path);
  await expect(host().start(guest)).rejects.toThrow(/[Ss]ecret not found/);
  expect(await hashOf(path)).toBe(hash);
  expect(await host().json("keys", "list")).toEqual({ keys: [] });
});

async function luksFormat(path: string, uuid: string): Promise<void> {
  await execa(
    "cryptsetup",
    ["luksFormat", "-q", "--type", "luks1", "--uuid", uuid, "--pbkdf-force-iterations", "1000", path, "-"],
    { input: "of an orchestrator that is gone" },
  );
}
