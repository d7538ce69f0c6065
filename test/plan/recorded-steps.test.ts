import { beforeEach, describe, expect, it } from "vitest";
import { EncryptionProviders } from "../../src/encryption/encryption-providers.js";
import { LuksmithError } from "../../src/error/luksmith-error.js";
import { Keyring } from "../../src/keystore/keyring.js";
import { newKeyUuid } from "../../src/keystore/key-uuid.js";
import { Arrivals } from "../../src/migration/arrivals.js";
import { KeySession } from "../../src/plan/key-session.js";
import { StepPerformer } from "../../src/plan/perform.js";
import { Secret } from "../../src/secret/secret.js";
import { StorageRegistry } from "../../src/storage/storage-registry.js";
import { FakeHeaderVault } from "../fake/fake-header-vault.js";
import { FakeHostAdapter } from "../fake/fake-host-adapter.js";
import { FakeMappings } from "../fake/fake-mappings.js";
import { RecordingAudit } from "../fake/recording-audit.js";
import { RecordingLogger } from "../fake/recording-logger.js";
import { codeOf } from "../storage/workshop.js";
import { disk, guestWith } from "./builders.js";

const [uuid, another] = [newKeyUuid(), newKeyUuid()];
const guest = guestWith(disk("vda"), disk("vdb"));
const secrets = [
  { disk: "vda", uuid },
  { disk: "vdb", uuid: another },
] as const;
const unwritable = () => new LuksmithError("AUDIT_UNWRITABLE", { what: "no room" });

let host: FakeHostAdapter;
let audit: RecordingAudit;
let performer: StepPerformer;

beforeEach(() => {
  [host, audit] = [new FakeHostAdapter(), new RecordingAudit()];
  const session = new KeySession();
  const key = () => ({ passphrase: Secret.randomPassphrase() });
  const cached = {
    since: new Date("2026-01-02T03:04:05Z"),
    error: new LuksmithError("KEYSTORE_UNAVAILABLE", { what: "vault1 is down" }),
  };
  session.add(uuid, key(), { keystore: { name: "local" } });
  session.add(another, key(), { keystore: { name: "vault1" }, cached });
  const resources = {
    ...{ host, audit, keyring: new Keyring([]), storage: new StorageRegistry([]) },
    ...{ providers: new EncryptionProviders([]), mappings: new FakeMappings(), arrivals: new Arrivals() },
    ...{ headers: new FakeHeaderVault(), logger: new RecordingLogger() },
  };
  performer = new StepPerformer(guest, resources, session);
});

const provide = () => performer.perform({ kind: "provide-secrets", secrets });

describe("providing secrets", () => {
  it("is recorded with the keystore that gave out each key, or the copy that this host had", async () => {
    await provide();
    const of = { event: "provide", guest: { id: guest.id, name: guest.name }, result: "done" };
    expect(audit.uses).toEqual([
      expect.objectContaining({ ...of, disk: "vda", key: uuid, keystore: "local" }),
      expect.objectContaining({
        ...{ ...of, disk: "vdb", key: another, keystore: "vault1" },
        detail: "from this host's copy of the key",
      }),
    ]);
    expect(audit.uses[0]).not.toHaveProperty("detail");
  });

  it("is recorded as failed, with the code", async () => {
    host.refusedDisk = "vdb";
    expect(await codeOf(provide())).toBe("HOST_SECRET_FAILED");
    const results = audit.uses.map(({ result, code, key }) => [result, code, key]);
    expect(results).toEqual([uuid, another].map((key) => ["failed", "HOST_SECRET_FAILED", key]));
  });

  it("does not begin where it cannot be recorded, and must be", async () => {
    audit.failure = unwritable();
    expect(await codeOf(provide())).toBe("AUDIT_UNWRITABLE");
    expect(host.passphrases.size).toBe(0);
  });

  it("is undone where that is found out afterwards only", async () => {
    audit.requireWritable = () => undefined;
    audit.failure = unwritable();
    expect(await codeOf(provide())).toBe("AUDIT_UNWRITABLE");
    expect(await host.providedSecrets()).toEqual([]);
  });
});
