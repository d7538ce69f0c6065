import { describe, expect, test } from "vitest";
import type { ConvertFacts } from "../../src/convert/gather-convert.js";
import { requireSource } from "../../src/convert/guest-meanwhile.js";
import { planConvert } from "../../src/convert/plan-convert.js";
import { stagesOf, tasksOf } from "../../src/convert/convert-tasks.js";
import type { DiskMapping } from "../../src/disk-info/disk-info.js";
import { NativeLuks } from "../../src/encryption/native-luks.js";
import type { ErrorCode } from "../../src/error/catalogue.js";
import { LuksmithError } from "../../src/error/luksmith-error.js";
import type { KeyRecord } from "../../src/generated/key-record.js";
import type { Probe, StorageBackend, VolumeAllocator } from "../../src/storage/storage-backend.js";
import type { PathVolume } from "../../src/storage/volume.js";
import { FakeDmCrypt } from "../fake/fake-dm-crypt.js";
import { disk, guestWith, header, NOW, record, request, uuid } from "../plan/builders.js";

const OLD: PathVolume = { kind: "block", path: "/dev/vg/vm1", format: "raw" };
const NEW: PathVolume = { kind: "block", path: "/dev/vg/vm1-luks", format: "raw" };

/** Only what a pure planner asks of it. */
const BACKEND = { type: "lvm", allocate: () => Promise.reject(new Error()) } as unknown as StorageBackend &
  VolumeAllocator;

const plainRecord: KeyRecord = {
  ...record(1, "vda", "active"),
  volume: OLD.path,
  encryption: { format: "plain", cipher: "aes-xts-plain64", keySize: 512, hash: "ripemd160" },
};

function facts(more: Partial<ConvertFacts> = {}): ConvertFacts {
  const plain = disk("vda", 1, { volume: OLD, encryption_format: "plain", mapping: "vm1-dmcrypt" });
  return {
    guest: { ...guestWith(plain), running: false, saved: false },
    disk: plain,
    key: { kind: "found", keystore: "local", record: plainRecord },
    source: undefined,
    shape: { lv: { group: "vg", volume: "vm1" }, snapshots: 0 },
    request: request("vda"),
    provider: new NativeLuks(),
    target: { volume: NEW, isNamed: false },
    backend: BACKEND,
    probe: { kind: "absent" },
    user: undefined,
    known: undefined,
    noted: undefined,
    ...more,
  };
}

const known = (state: KeyRecord["state"], more: Partial<KeyRecord> = {}): ConvertFacts["known"] => ({
  keystore: "remote",
  record: { ...record(2, "vda", state), volume: NEW.path, ...more },
});

const plan = (more: Partial<ConvertFacts> = {}) =>
  planConvert(facts(more), { now: NOW, newUuid: () => uuid(9) });

function refusal(more: Partial<ConvertFacts>): ErrorCode {
  try {
    plan(more);
  } catch (thrown) {
    if (thrown instanceof LuksmithError) return thrown.code;
    throw thrown;
  }
  throw new Error("it was not refused");
}

describe("a conversion", () => {
  test("begins with a key, and gives the disk the new volume at the end", () => {
    const { steps, allocate, copy, key } = plan();

    expect({ allocate, copy, annotation: key?.annotation }).toEqual({
      allocate: true,
      copy: "again",
      annotation: { format: "luks", secretUuid: uuid(9), volume: NEW },
    });
    expect(steps.store).toMatchObject({
      record: { state: "pending", volume: NEW.path },
      keystore: request("vda").keystore,
    });
    expect(
      stagesOf(plan())
        .flat()
        .map(({ kind }) => kind),
    ).toEqual(["store-key", "format", "annotate", "activate-key"]);
    expect(tasksOf(plan()).join("\n")).toMatch(/\/dev\/vg\/vm1-luks.*copy \/dev\/vg\/vm1 into it/s);
  });

  test("points the disk at a mapping where dm-crypt decrypts", () => {
    const { key, steps } = plan({ provider: new FakeDmCrypt() });

    expect(key?.annotation).toMatchObject({ mapping: `luksmith-vm1-luks-${uuid(9)}`, volume: NEW });
    expect(steps.format).toMatchObject({ provider: "dm-crypt" });
  });

  test.each<[string, Probe]>([
    ["not there yet", { kind: "absent" }],
    ["empty", { kind: "allocated" }],
    ["formatted", { kind: "luks", header: header(2) }],
    ["torn", { kind: "bad-luks", reason: "cut off", claimedUuid: uuid(2) }],
  ])("that was cut short goes on with its key, and copies all: the volume is %s", (_, probe) => {
    const { steps, copy, key, allocate } = plan({ probe, known: known("pending") });

    expect([steps.store, key?.record.uuid, copy, allocate]).toEqual([
      undefined,
      uuid(2),
      "again",
      probe.kind === "absent",
    ]);
    expect(steps.activate).toMatchObject({ keystore: "remote" });
  });

  test("that had come to its end writes nothing to a volume that may be in use", () => {
    const { steps, copy } = plan({ probe: { kind: "luks", header: header(2) }, known: known("active") });

    expect({ ...steps, copy }).toEqual({
      store: undefined,
      format: undefined,
      activate: undefined,
      copy: "not",
    });
  });
});

describe("into a volume that is to be plain", () => {
  const plain = (noted: ConvertFacts["noted"], probe: Probe) =>
    plan({ request: undefined, provider: undefined, noted, probe });

  test("no key is made, and a volume that is there must prove to be empty", () => {
    expect(plain(undefined, { kind: "absent" })).toMatchObject({
      key: undefined,
      allocate: true,
      prove: false,
    });
    const target = { volume: NEW, isNamed: true };
    const there = { request: undefined, provider: undefined, target, probe: { kind: "allocated" } as const };
    expect(plan(there)).toMatchObject({ allocate: false, prove: true, copy: "again" });
  });

  test("that an earlier try has made, all is copied again, whatever it holds", () => {
    const noted = { state: "copying", target: "made" } as const;
    expect(plain(noted, { kind: "data", signature: "ext4" })).toMatchObject({ copy: "again", prove: false });
    expect(plain({ ...noted, target: "unmade" }, { kind: "empty" })).toMatchObject({ prove: true });
  });

  test("that was verified, nothing is written: it may have been used since", () => {
    const noted = { state: "verified", target: "made" } as const;
    expect(plain(noted, { kind: "data", signature: undefined })).toMatchObject({ copy: "not" });
  });
});

describe("a disk that was copied", () => {
  const { guest, disk: plain } = facts();
  const withDisk = (now: DiskMapping) => ({ ...guest, ...guestWith(now), running: false, saved: false });

  test("is given its new volume whatever else of its guest has changed", () => {
    const changed = {
      ...withDisk(plain),
      ...guestWith(plain, disk("vdb")),
      configuration: "<domain> </domain>",
    };

    expect(() => requireSource(changed, plan())).not.toThrow();
  });

  test.each<[string, DiskMapping]>([
    ["has gone", disk("vdb")],
    ["has another volume", { ...plain, volume: NEW }],
    ["has another key", { ...plain, encryption_secret_uuid: uuid(3) }],
    ["has another mapping", { ...plain, mapping: "vm2-dmcrypt" }],
    ["is not encrypted", disk("vda", undefined, { volume: OLD })],
  ])("is not, where it %s meanwhile", (_, now) => {
    expect(() => requireSource(withDisk(now), plan())).toThrow(
      expect.objectContaining({ code: "GUEST_CHANGED" }),
    );
  });
});

describe("it is refused", () => {
  const { guest, disk: plain } = facts();
  const there = { kind: "luks", header: header(2) } as const;

  test.each<[string, ErrorCode, Partial<ConvertFacts>]>([
    ["while the guest runs", "GUEST_RUNNING", { guest: { ...guest, running: true } }],
    ["for a guest that was saved", "GUEST_RUNNING", { guest: { ...guest, saved: true } }],
    [
      "for a disk that is plain and is to be so",
      "DISK_NOT_ENCRYPTED",
      { disk: disk("vda"), request: undefined },
    ],
    [
      "for one whose key is pending",
      "VOLUME_UNSUPPORTED",
      {
        disk: disk("vda", 1),
        key: { kind: "found", keystore: "local", record: record(1, "vda", "pending") },
      },
    ],
    [
      "for one that is being converted in place",
      "CONVERSION_UNFINISHED",
      {
        key: {
          kind: "found",
          keystore: "local",
          record: { ...plainRecord, conversion: { to: "plain", startedAt: "now" } },
        },
      },
    ],
    [
      "from an image to a device",
      "VOLUME_UNSUPPORTED",
      { disk: disk("vda", undefined, { volume: { kind: "file", path: "/srv/vm.qcow2", format: "qcow2" } }) },
    ],
    [
      "on storage that no path leads to",
      "VOLUME_UNSUPPORTED",
      { disk: disk("vda", undefined, { volume: { kind: "rbd", pool: "p", image: "i", format: "raw" } }) },
    ],
    [
      "over an encrypted base",
      "VOLUME_UNSUPPORTED",
      { disk: disk("vda", 1, { backingSecretUuids: [uuid(3)] }), target: { volume: NEW, isNamed: true } },
    ],
    [
      "for an overlay over what its guest may have made look like an image",
      "VOLUME_UNSUPPORTED",
      { shape: { snapshots: 0, overlay: "of an unknown format" }, target: { volume: NEW, isNamed: true } },
    ],
    ["with its data elsewhere", "VOLUME_UNSUPPORTED", { shape: { snapshots: 0, externalData: true } }],
    [
      "for one without a mapping",
      "VOLUME_UNSUPPORTED",
      { disk: disk("vda", 1, { encryption_format: "plain" }) },
    ],
    [
      "for a copy whose separation was cut short",
      "LUKS_UUID_MISMATCH",
      {
        disk: disk("vda", 1),
        key: { kind: "found", keystore: "local", record: record(1, "vda", "active") },
        source: { kind: "luks", header: header(2) },
      },
    ],
    ["without the key", "KEY_NOT_FOUND", { key: { kind: "unknown" } }],
    ["for a volume with snapshots", "VOLUME_UNSUPPORTED", { shape: { snapshots: 2 } }],
    ["into itself", "USAGE", { target: { volume: OLD, isNamed: true } }],
    ["into a volume that nobody named", "VOLUME_EXISTS", { probe: { kind: "allocated" } }],
    ["into data", "VOLUME_NOT_EMPTY", { probe: { kind: "data", signature: undefined } }],
    ["into another one's LUKS volume", "VOLUME_NOT_EMPTY", { probe: there }],
    [
      "into a damaged LUKS volume",
      "VOLUME_NOT_EMPTY",
      { probe: { kind: "bad-luks", reason: "", claimedUuid: undefined } },
    ],
    ["into what cannot be read", "VOLUME_UNREADABLE", { probe: { kind: "unreadable", reason: "" } }],
    [
      "into another guest's LUKS volume",
      "VOLUME_NOT_EMPTY",
      { probe: there, known: known("pending", { guest: { id: "other", name: "other" } }) },
    ],
    ["into another disk's", "VOLUME_NOT_EMPTY", { probe: there, known: known("pending", { disk: "vdb" }) }],
    [
      "into another volume's",
      "VOLUME_NOT_EMPTY",
      { probe: there, known: known("pending", { volume: "/dev/vg/x" }) },
    ],
    [
      "into a volume that another disk has",
      "VOLUME_BUSY",
      { probe: { kind: "allocated" }, user: { guest: "web2", disk: "vda", by: "volume" } },
    ],
    [
      "into a copy of one that another disk has",
      "KEY_IN_USE",
      { probe: there, known: known("pending"), user: { guest: "web2", disk: "vda", by: "key" } },
    ],
    ["where nothing can be made", "VOLUME_UNSUPPORTED", { backend: { type: "block" } as StorageBackend }],
  ])("%s: %s", (_, code, more) => {
    expect(refusal({ disk: plain, ...more })).toBe(code);
  });

  test("for a plain disk that is no ordinary one, without saying that it is not plain", () => {
    const volume = { kind: "other", description: "transient disk /dev/vg/vm1", path: "/dev/vg/vm1" } as const;

    expect(() => plan({ disk: { ...plain, volume } })).toThrow(
      expect.objectContaining({
        code: "VOLUME_UNSUPPORTED",
        message: expect.stringContaining("it is plain dm-crypt, but no ordinary raw disk") as string,
        why: expect.stringContaining("transient disk") as string,
      }),
    );
  });

  test("with the keystore's error while that does not answer", () => {
    const error = new LuksmithError("KEYSTORE_UNAVAILABLE", { what: "no answer" });

    expect(refusal({ key: { kind: "unavailable", error } })).toBe("KEYSTORE_UNAVAILABLE");
  });
});
