import { readdirSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { DmCryptMappings } from "../../../src/encryption/dm-crypt/dm-crypt-mappings.js";
import { mappingName } from "../../../src/encryption/dm-crypt/mapping-name.js";
import { newKeyUuid } from "../../../src/keystore/key-uuid.js";
import { Secret } from "../../../src/secret/secret.js";
import { RecordingCommandRunner } from "../../fake/recording-command-runner.js";
import { temporaryDirectory } from "../../fs/tree.js";
import { SPEC } from "../../storage/workshop.js";

it("opens no file whose last sector the kernel would leave out, and says how to make it whole", async () => {
  const directory = temporaryDirectory();
  const path = join(directory, "disk.img");
  writeFileSync(path, "");
  truncateSync(path, 8 * 1024 * 1024 + 100);
  const runner = new RecordingCommandRunner();
  const mappings = new DmCryptMappings(runner, {
    claims: join(directory, "claims"),
    locks: join(directory, "locks"),
  });
  const [uuid, volume] = [newKeyUuid(), { kind: "file", path, format: "raw" } as const];
  using passphrase = Secret.randomPassphrase();
  const guest = { id: newKeyUuid(), name: "web1" };
  const request = { name: mappingName(volume, uuid), volume, uuid, spec: SPEC, guest, disk: "vda" };
  await expect(mappings.open(request, passphrase)).rejects.toMatchObject({
    code: "VOLUME_UNSUPPORTED",
    hint: expect.stringContaining(`truncate -s %512 ${path}`) as string,
  });
  expect(runner.lines).toEqual([]);
  expect(readdirSync(directory)).toEqual(["disk.img"]);
});
