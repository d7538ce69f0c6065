import { statSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { EncryptionProviders } from "../../src/encryption/encryption-providers.js";
import { LuksmithError } from "../../src/error/luksmith-error.js";
import { Keyring } from "../../src/keystore/keyring.js";
import { newKeyUuid } from "../../src/keystore/key-uuid.js";
import { KeySession } from "../../src/plan/key-session.js";
import { Arrivals } from "../../src/migration/arrivals.js";
import { StepPerformer } from "../../src/plan/perform.js";
import type { GuestState, Step } from "../../src/plan/step.js";
import { Secret } from "../../src/secret/secret.js";
import { StorageRegistry } from "../../src/storage/storage-registry.js";
import { FakeMappings } from "../fake/fake-mappings.js";
import { FakeHeaderVault } from "../fake/fake-header-vault.js";
import { RecordingAudit } from "../fake/recording-audit.js";
import { RecordingLogger } from "../fake/recording-logger.js";
import { FakeHostAdapter } from "../fake/fake-host-adapter.js";
import { codeOf, type FileVolume, MIB, SPEC, Workshop } from "../storage/workshop.js";
import { guestWith } from "./builders.js";

/** A host whose guests run in memory: it remembers what sizes they were told. */
class SizeRecordingHost extends FakeHostAdapter {
  readonly told: [disk: string, bytes: bigint][] = [];
  failure: LuksmithError | undefined;

  override resizeDisk(_guest?: unknown, disk = "", bytes = 0n): Promise<void> {
    if (this.failure !== undefined) return Promise.reject(this.failure);
    this.told.push([disk, bytes]);
    return Promise.resolve();
  }
}

const uuid = newKeyUuid();
let workshop: Workshop;
let volume: FileVolume;
let host: SizeRecordingHost;
let mappings: FakeMappings;
let session: KeySession;
let performer: StepPerformer;

beforeEach(async () => {
  workshop = new Workshop("raw");
  volume = workshop.makeEmpty("disk.img");
  host = new SizeRecordingHost();
  mappings = new FakeMappings();
  session = new KeySession();
  const passphrase = session.create(uuid);
  await workshop.backend.createEncrypted({ volume, uuid, spec: SPEC, passphrase });
  const storage = new StorageRegistry([workshop.backend]);
  const resources = {
    host,
    keyring: new Keyring([]),
    storage,
    providers: new EncryptionProviders([]),
    mappings,
    arrivals: new Arrivals(),
    audit: new RecordingAudit(),
    headers: new FakeHeaderVault(),
    logger: new RecordingLogger(),
  };
  performer = new StepPerformer(guestWith(), resources, session);
});
afterEach(() => {
  session[Symbol.dispose]();
  workshop[Symbol.dispose]();
});

function grow(guest: GuestState, to = 10 * MIB): Step {
  return { kind: "grow", disk: "vda", volume, uuid, guest, from: 6 * MIB, to };
}

describe("the step that enlarges a disk", () => {
  it("enlarges an image file under an open mapping itself, then the mapping, then tells the host", async () => {
    await performer.perform({ ...grow("running"), mapping: "luksmith-disk.img" } as Step);
    expect(statSync(volume.path).size).toBe(12 * MIB);
    expect(mappings.resized).toEqual(["luksmith-disk.img"]);
    expect(host.told).toHaveLength(1);
  });

  it("enlarges the volume of a stopped guest, and tells no host", async () => {
    expect(await performer.perform(grow("stopped"))).toBeUndefined();
    expect(statSync(volume.path).size).toBe(12 * MIB);
    expect(host.told).toEqual([]);
  });

  it("tells a running guest what the storage has, in whole sectors", async () => {
    await performer.perform(grow("running", 10 * MIB + 1));
    expect(host.told).toEqual([["vda", BigInt(10 * MIB + 512)]]);
    expect(statSync(volume.path).size).toBe(8 * MIB);
  });

  it("can be done again when the guest could not be told", async () => {
    host.failure = new LuksmithError("VOLUME_GROW_FAILED", { what: "no" });
    expect(await codeOf(performer.perform(grow("running")))).toBe("VOLUME_GROW_FAILED");
    host.failure = undefined;
    await performer.perform(grow("running"));
    expect(host.told).toHaveLength(1);
  });

  it.each(["stopped", "running"] as const)(
    "touches no volume that has another header by now: %s",
    async (state) => {
      workshop.replace(volume);
      const before = workshop.state();
      expect(await codeOf(performer.perform(grow(state)))).toBe("LUKS_UUID_MISMATCH");
      using passphrase = Secret.randomPassphrase();
      await workshop.backend.createEncrypted({ volume, uuid: newKeyUuid(), spec: SPEC, passphrase });
      const formatted = workshop.state();
      expect(formatted).not.toEqual(before);
      expect(await codeOf(performer.perform(grow(state)))).toBe("LUKS_UUID_MISMATCH");
      expect(workshop.state()).toEqual(formatted);
      expect(host.told).toEqual([]);
    },
  );
});
