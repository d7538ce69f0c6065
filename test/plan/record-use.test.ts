import { join } from "node:path";
import { expect, it } from "vitest";
import type { KeyRecord } from "../../src/generated/key-record.js";
import type { HostAdapter } from "../../src/host/host-adapter.js";
import { inUse } from "../../src/host/proxmox/key-in-use.js";
import { FileKeystore } from "../../src/keystore/file/file-keystore.js";
import { keyUuidOf } from "../../src/keystore/key-record.js";
import { recordUse } from "../../src/plan/record-use.js";
import { Secret } from "../../src/secret/secret.js";
import { RecordingLogger } from "../fake/recording-logger.js";
import { temporaryDirectory } from "../fs/tree.js";
import { sampleRecord } from "../keystore/sample-key.js";
import { keyringOf } from "../recovery/recovery-lab.js";

it("what a start records of a key that is used leaves a rotation that has begun meanwhile as it is", async () => {
  const directory = join(temporaryDirectory(), "keys");
  const keystore = new FileKeystore({ name: "local", type: "file", directory });
  const record = sampleRecord({ state: "active", freedAt: "2026-01-02T00:00:00Z" });
  using passphrase = Secret.randomPassphrase();
  await keystore.store({ record, passphrase });
  const rotation = { startedAt: "2026-08-02T10:00:00.000Z", keyslot: 1 };
  const uuid = keyUuidOf(record);
  await keystore.change(uuid, (now) => ({ ...now, rotation }));

  const host = { keyInUse: (now: KeyRecord) => inUse(now, record.guest) } as unknown as HostAdapter;
  const logger = new RecordingLogger();
  const keyring = keyringOf(keystore);
  await recordUse(record.guest, [{ kind: "found", keystore: "local", record }], { host, keyring, logger });

  expect(logger.warnings).toEqual([]);
  const [now] = await keystore.find({});
  expect(now).toMatchObject({ state: "active", rotation });
  expect(now).not.toHaveProperty("freedAt");
});
