import { readdirSync } from "node:fs";
import { expect, it } from "vitest";
import { Keyslots } from "../../src/encryption/keyslots.js";
import { FileHeaderVault } from "../../src/headers/file-header-vault.js";
import { restoreVolume } from "../../src/headers/restore-volume.js";
import { Keyring } from "../../src/keystore/keyring.js";
import { createStorageRegistry } from "../../src/storage/index.js";
import { VolumeLocks } from "../../src/storage/volume-lock.js";
import { InPlaceWorld } from "../convert/in-place/in-place-world.js";
import { DEFAULT_STORAGE } from "../storage/default-storage.js";
import { codeOf, MIB } from "../storage/workshop.js";

it("writes no former header over a volume that was decrypted in place", { timeout: 120_000 }, async () => {
  using world = new InPlaceWorld(16 * MIB);
  await world.convert("encrypted");
  await world.convert("plain");
  const locks = new VolumeLocks(world.runner, world.at("locks"));
  const vault = new FileHeaderVault({ directory: world.at("headers"), keep: 3 }, locks, {
    now: () => new Date(),
  });
  const [copy] = vault.takenFrom(world.path);
  if (copy === undefined) throw new Error("a copy of the former header is kept");
  const ports = {
    storage: createStorageRegistry(world.runner, DEFAULT_STORAGE, locks),
    keyring: new Keyring([{ name: "local", make: () => Promise.resolve(world.keystore) }]),
    keyslots: new Keyslots(world.runner),
    ...{ vault, audit: world.audit },
  };
  const target = { volume: { kind: "file", path: world.path, format: "raw" }, uuid: copy.uuid } as const;
  expect(await codeOf(restoreVolume(target, copy, ports))).toBe("VOLUME_NOT_EMPTY");
  expect(world.bytes().equals(world.plain)).toBe(true);
  expect(
    readdirSync(world.at(`headers/${copy.uuid}`)).filter((name) => name.includes("overwritten")),
  ).toEqual([]);
});
