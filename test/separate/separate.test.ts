import { copyFileSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { DiskMapping } from "../../src/disk-info/disk-info.js";
import { claimedLuksUuid } from "../../src/encryption/luks-header.js";
import type { Annotations, ConfiguredGuest } from "../../src/host/host-adapter.js";
import type { KeyUuid } from "../../src/keystore/key-uuid.js";
import type { DiskFacts } from "../../src/plan/facts.js";
import { RecoveryKeyslots } from "../../src/recovery/recovery-keyslots.js";
import { newPassphraseFor } from "../../src/recovery/recovery-passphrases.js";
import { noteKin } from "../../src/separate/clones.js";
import { kinshipOf } from "../../src/separate/same-header.js";
import { type SeparatePorts, separateVolume } from "../../src/separate/separate-volume.js";
import { createStorageRegistry, StorageRegistry } from "../../src/storage/index.js";
import { RecordingLogger } from "../fake/recording-logger.js";
import { Killer } from "../recovery/killer.js";
import { keyringOf, RecoveryLab } from "../recovery/recovery-lab.js";
import { DEFAULT_STORAGE } from "../storage/default-storage.js";
import { type FileVolume, qemuIo, sha256 } from "../storage/workshop.js";

describe.each(["raw", "qcow2"] as const)("a copied %s image", { timeout: 240_000 }, (format) => {
  let lab: RecoveryLab;
  let original: FileVolume;
  let copy: FileVolume;
  let uuid: KeyUuid;
  let recipient: string;
  /** What the copy's guest has in its configuration. */
  let named: KeyUuid;

  beforeEach(async () => {
    lab = new RecoveryLab(format);
    const disk = await lab.disk();
    ({ recipient } = lab.identity());
    const made = await newPassphraseFor([recipient]);
    using passphrase = made.passphrase;
    await new RecoveryKeyslots(lab.ports).add(disk, { ...made, passphrase });
    ({ volume: original, uuid } = disk);
    qemuIo(lab.workshop.backend.qemuNode(original, "key"), ["write -P 0x77 1M 64k"], passphrase);
    copy = { ...original, path: `${original.path}-copy` };
    copyFileSync(original.path, copy.path);
    named = uuid;
  });
  afterEach(() => {
    lab[Symbol.dispose]();
  });

  const mapping = (): DiskMapping => ({
    ...{ bus: "virtio", dev: "vda", type: "disk", encrypted: true, readOnly: false, volume: copy },
    ...{ encryption_format: "luks", encryption_secret_uuid: named },
  });
  const guest = (id = "0a1b2c3d-0000-4000-8000-00000000000c"): ConfiguredGuest => ({
    ...{ id, name: "clone1", asks: [], tags: [], configuration: "", running: false, saved: false },
    disks: { disk_bus: "virtio", cdrom_bus: "ide", mapping: { vda: mapping() } },
  });
  const annotate = (_guest: unknown, added: Annotations, replaced?: Annotations) => {
    expect(replaced?.get("vda")?.secretUuid).toBe(named);
    named = added.get("vda")!.secretUuid;
    return Promise.resolve();
  };
  const ports = (killer = new Killer()): SeparatePorts => ({
    ...lab.ports,
    host: killer.wrap({ annotate }, ["annotate"]),
    keyring: keyringOf(killer.wrap(lab.keystore, ["store", "change", "delete"])),
    storage: new StorageRegistry([killer.wrapBackend(lab.workshop.backend)]),
    vault: killer.wrap(lab.vault, ["keep", "destroy"]),
    runner: lab.workshop.runner,
  });
  const separate = (killer?: Killer) => separateVolume({ guest: guest(), disk: mapping() }, ports(killer));
  const headerOf = (volume: FileVolume) => lab.workshop.backend.readHeader(volume);

  /** The volume opens with the passphrase that the keystore has under the UUID in its header. */
  async function expectInvariant(): Promise<void> {
    const header = await headerOf(copy);
    const { passphrase } = await lab.key(claimedLuksUuid(header)!);
    using own = passphrase;
    expect(await lab.keyslots.find(header, own)).toBeDefined();
  }

  async function expectSeparated(): Promise<void> {
    const header = await headerOf(copy);
    const own = claimedLuksUuid(header)!;
    expect(own).not.toBe(uuid);
    expect(named).toBe(own);
    const { record, passphrase } = await lab.key(own);
    using mine = passphrase;
    expect(record).toMatchObject({
      state: "active",
      guest: { name: "clone1" },
      disk: "vda",
      volume: copy.path,
    });
    expect(record.recovery).toBeUndefined();
    expect(lab.keyslots.used(header)).toEqual([await lab.keyslots.find(header, mine)]);
    expect(await lab.keystore.find({ volume: copy.path })).toHaveLength(1);
    const copies = lab.vault.backups(own).map((backup) => lab.vault.read(backup));
    expect(copies.map((bytes) => bytes.equals(header))).toEqual([true]);
  }

  it("gets a UUID, a passphrase and a keyslot of its own, and the original is not touched", async () => {
    const [before, record] = [sha256(original.path), await lab.record(uuid)];

    const separated = await separate();

    await expectSeparated();
    expect(separated).toEqual({ uuid: named, former: uuid });
    expect(sha256(original.path)).toBe(before);
    expect(await lab.record(uuid)).toEqual(record);
    const { passphrase: old } = await lab.key(uuid);
    using former = old;
    expect(await lab.keyslots.find(await headerOf(copy), former)).toBeUndefined();
    const { passphrase } = await lab.key(named);
    using mine = passphrase;
    qemuIo(lab.workshop.backend.qemuNode(copy, "key"), ["read -P 0x77 1M 64k"], mine);
    expect(lab.audit.uses.at(-1)).toMatchObject({ event: "separate", result: "done", key: named });
  });

  it("keeps a recovery keyslot that it was given since", async () => {
    await separate();
    const disk = { guest: guest(), disk: "vda", volume: copy, uuid: named };
    const made = await newPassphraseFor([recipient]);
    using recovery = made.passphrase;
    await new RecoveryKeyslots(lab.ports).add(disk, made);
    const before = sha256(copy.path);

    expect(await separate()).toEqual({ uuid: named, former: undefined });
    expect(sha256(copy.path)).toBe(before);
    expect(await lab.keyslots.find(await headerOf(copy), recovery)).toBeDefined();
  });

  if (format === "raw")
    it("goes on after it was killed at any step", { timeout: 180_000 }, async () => {
      const [image, before] = [readFileSync(copy.path), sha256(original.path)];
      const count = new Killer();
      await separate(count);
      expect(count.effects).toBeGreaterThan(12);
      for (let at = 1; at <= count.effects; at++) {
        for (const left of await lab.keystore.find({ volume: copy.path }))
          await lab.keystore.delete(left.uuid as KeyUuid);
        writeFileSync(copy.path, image);
        named = uuid;
        await expect(separate(new Killer(at))).rejects.toThrow("killed");
        await expectInvariant();
        await separate();
        await expectSeparated();
        expect(sha256(original.path)).toBe(before);
      }
    });

  describe("is told", () => {
    const everyStorage = () => createStorageRegistry(lab.workshop.runner, DEFAULT_STORAGE);
    const kin = async (volume: FileVolume) =>
      await kinshipOf({ volume }, await lab.record(uuid), everyStorage());

    it("from the original, which has another name too, and from a volume that was moved", async () => {
      expect(await kin(copy)).toEqual({ kind: "copy", of: original.path });
      expect(await kin(original)).toEqual({ kind: "own" });
      const other = await lab.disk("other");
      renameSync(other.volume.path, original.path);
      expect(await kin(copy)).toEqual({ kind: "moved", from: original.path, why: "other header" });
      rmSync(original.path);
      expect(await kin(copy)).toEqual({ kind: "moved", from: original.path, why: "absent" });
    });

    const facts = async (): Promise<DiskFacts[]> => [
      {
        ...{ kind: "annotated", disk: mapping(), uuid, request: undefined, bases: [] },
        key: { kind: "found", keystore: "local", record: await lab.record(uuid) },
        probe: await lab.workshop.backend.probe(copy, "header"),
      },
    ];
    const note = async (of = guest(), known = facts()) => {
      const logger = new RecordingLogger();
      const storage = everyStorage();
      await noteKin(of, await known, { storage, keyring: keyringOf(lab.keystore), logger });
      return logger.warnings.map(({ message }) => message);
    };

    it("at its guest's start, with the command that separates it", async () => {
      const [warning] = await note();
      expect(warning).toContain(`is a copy of ${original.path}`);
      expect(warning).toContain("luksmith separate clone1 vda");
      expect((await lab.record(uuid)).volume).toBe(original.path);
    });

    it("from a volume of the same guest that was moved, whose record follows", async () => {
      rmSync(original.path);
      const { guest: owner } = await lab.record(uuid);
      expect(await note()).toEqual([]);
      expect((await lab.record(uuid)).volume).toBe(original.path);
      expect(await note(guest(owner.id))).toEqual([]);
      expect((await lab.record(uuid)).volume).toBe(copy.path);
    });

    it("so, and a rotation that has begun since its record was read is not forgotten", async () => {
      rmSync(original.path);
      const known = await facts();
      const rotation = { startedAt: "2026-08-02T10:00:00.000Z", keyslot: 1 };
      await lab.keystore.change(uuid, (record) => ({ ...record, rotation }));
      expect(await note(guest((await lab.record(uuid)).guest.id), Promise.resolve(known))).toEqual([]);
      expect(await lab.record(uuid)).toMatchObject({ volume: copy.path, rotation });
    });
  });

  it("leaves the audit that cannot be written in the way", async () => {
    const bytes = readFileSync(copy.path);
    lab.audit.failure = Object.assign(new Error("full"), {}) as never;
    await expect(separate()).rejects.toThrow("full");
    expect(readFileSync(copy.path).equals(bytes)).toBe(true);
  });
});
