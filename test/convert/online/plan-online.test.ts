import { describe, expect, test } from "vitest";
import type { OnlineFacts } from "../../../src/convert/online/gather-online.js";
import { onlineStages, onlineTasks } from "../../../src/convert/online/online-tasks.js";
import { planOnline } from "../../../src/convert/online/plan-online.js";
import type { ConversionGoal } from "../../../src/convert/conversion.js";
import { NativeLuks } from "../../../src/encryption/native-luks.js";
import type { ErrorCode } from "../../../src/error/catalogue.js";
import { LuksmithError } from "../../../src/error/luksmith-error.js";
import type { KeyRecord } from "../../../src/generated/key-record.js";
import type { Probe, StorageBackend, VolumeAllocator } from "../../../src/storage/storage-backend.js";
import type { PathVolume } from "../../../src/storage/volume.js";
import { FakeDmCrypt } from "../../fake/fake-dm-crypt.js";
import { disk, guestWith, header, NOW, record, request, uuid } from "../../plan/builders.js";

const OLD: PathVolume = { kind: "file", path: "/vm.raw", format: "raw" };
const NEW: PathVolume = { kind: "file", path: "/vm.luks.raw", format: "raw" };
const BACKEND = { type: "raw", allocate: () => Promise.reject(new Error()) } as unknown as StorageBackend &
  VolumeAllocator;
const ENCRYPTED: ConversionGoal = { to: "encrypted", request: request("vda"), engine: "auto" };

const plain = disk("vda", undefined, { volume: OLD });

function facts(more: Partial<OnlineFacts> = {}): OnlineFacts {
  const live = more.live ?? plain;
  return {
    guest: { ...guestWith(plain), running: true, saved: false },
    disk: live,
    live,
    state: { kind: "none", live: guestWith(live) },
    size: 8388608n,
    target: { volume: NEW, isNamed: false },
    backend: BACKEND,
    probe: { kind: "absent" },
    user: undefined,
    provider: new NativeLuks(),
    known: undefined,
    noted: undefined,
    ...more,
  };
}

const known = (state: KeyRecord["state"], more: Partial<KeyRecord> = {}): OnlineFacts["known"] => ({
  keystore: "remote",
  record: { ...record(2, "vda", state), volume: NEW.path, ...more },
});

const copying = (to: string): OnlineFacts["state"] => ({
  ...{ kind: "copying", live: guestWith(plain), to, secretUuid: uuid(2), done: 1n, total: 2n },
});

const plan = (more: Partial<OnlineFacts> = {}, goal: ConversionGoal = ENCRYPTED) =>
  planOnline(facts(more), { dev: "vda", goal, now: NOW, newUuid: () => uuid(9) });

function refusal(more: Partial<OnlineFacts>, goal: ConversionGoal = ENCRYPTED): ErrorCode {
  try {
    plan(more, goal);
  } catch (thrown) {
    if (thrown instanceof LuksmithError) return thrown.code;
    throw thrown;
  }
  throw new Error("it was not refused");
}

describe("a conversion of a running guest's disk", () => {
  test("makes a volume and a key, and activates the key when the guest has the volume", () => {
    const made = plan();

    expect(made).toMatchObject({ from: "prepare", allocate: true, mirror: { secretUuid: uuid(9) } });
    const kinds = onlineStages(made).flatMap((stage) => stage.map(({ kind }) => kind));
    expect(kinds).toEqual(["store-key", "format", "provide-secrets", "annotate", "activate-key"]);
    expect(onlineTasks(made).join("\n")).toMatch(/QEMU copy disk vda to \/vm.luks.raw.*pause.*as active/s);
  });

  test("goes on with the copy of an earlier call, and formats nothing", () => {
    const resumed = plan({ state: copying(NEW.path), probe: undefined, known: known("pending") });

    expect([resumed.from, resumed.steps.store, resumed.steps.format]).toEqual(["copy", undefined, undefined]);
    expect(resumed.steps.activate).toMatchObject({ keystore: "remote" });
  });

  test("only ends what is left when the guest has the new volume", () => {
    const live = disk("vda", 2, { volume: NEW });
    const rest = plan({ live, probe: undefined, known: known("pending") });

    expect([rest.from, rest.oldUuid]).toEqual(["given", undefined]);
    expect(Object.keys(rest.steps)).toEqual(["provide", "activate"]);
  });

  test("knows from its note what the guest has no need of any more", () => {
    const live = disk("vda", 2, { volume: NEW });
    const noted = { target: "made", oldKey: uuid(1) } as const;
    expect(plan({ live, probe: undefined, known: known("pending"), noted }).oldUuid).toBe(uuid(1));
  });

  test.each<Probe>([
    { kind: "data", signature: undefined },
    { kind: "luks", header: header(3) },
    { kind: "empty" },
  ])("writes a plain volume anew that an earlier call has made, holding $kind", (probe) => {
    const more = { probe, provider: undefined, noted: { target: "made" } } as const;
    expect(plan(more, { to: "plain" })).toMatchObject({ from: "prepare", allocate: false });
    expect(refusal({ ...more, noted: undefined }, { to: "plain" })).toBe("VOLUME_NOT_EMPTY");
  });

  test("takes away the secret of the old volume", () => {
    expect(plan({ live: disk("vda", 1, { volume: OLD }) }).oldUuid).toBe(uuid(1));
  });

  test("to plain has no key", () => {
    const { record: key, mirror, steps } = plan({ provider: undefined }, { to: "plain" });

    expect([key, mirror, steps]).toEqual([undefined, { volume: NEW }, {}]);
  });

  test.each<[string, Probe]>([
    ["formatted", { kind: "luks", header: header(2) }],
    ["torn", { kind: "bad-luks", reason: "cut off", claimedUuid: uuid(2) }],
    ["empty", { kind: "allocated" }],
  ])("uses the volume of an earlier call that is %s", (_, probe) => {
    expect(plan({ probe, known: known("pending") })).toMatchObject({ from: "prepare", allocate: false });
  });

  test.each<[string, ErrorCode, Partial<OnlineFacts>]>([
    ["data", "VOLUME_NOT_EMPTY", { probe: { kind: "data", signature: undefined } }],
    ["another key's header", "VOLUME_NOT_EMPTY", { probe: { kind: "luks", header: header(3) } }],
    [
      "the header of a key in use",
      "VOLUME_NOT_EMPTY",
      { probe: { kind: "luks", header: header(2) }, known: known("active") },
    ],
    [
      "the header of another disk's key",
      "VOLUME_NOT_EMPTY",
      { probe: { kind: "luks", header: header(2) }, known: known("pending", { disk: "vdb" }) },
    ],
    ["nothing, but a name that nobody said", "VOLUME_NOT_EMPTY", { probe: { kind: "empty" } }],
    ["what cannot be read", "VOLUME_UNREADABLE", { probe: { kind: "unreadable", reason: "gone" } }],
    ["what another disk has", "VOLUME_BUSY", { user: { guest: "vm2", disk: "vda", by: "volume" } }],
    ["what another disk opens", "KEY_IN_USE", { user: { guest: "vm2", disk: "vda", by: "key" } }],
  ])("refuses a target that holds %s", (_, code, more) => {
    expect(refusal(more)).toBe(code);
  });

  test.each<[string, ErrorCode, Partial<OnlineFacts>]>([
    ["is not there", "DISK_NOT_FOUND", { disk: undefined }],
    ["would start from another volume", "GUEST_CHANGED", { disk: disk("vda", undefined, { volume: NEW }) }],
    ["dm-crypt decrypts", "VOLUME_UNSUPPORTED", { live: disk("vda", 1, { volume: OLD, mapping: "m" }) }],
    ["others write to", "VOLUME_UNSUPPORTED", { live: { ...plain, shareable: true } }],
    ["is read-only", "VOLUME_UNSUPPORTED", { live: { ...plain, readOnly: true } }],
    ["is a CD-ROM drive", "VOLUME_UNSUPPORTED", { live: { ...plain, type: "cdrom" } }],
    ["is empty", "VOLUME_UNSUPPORTED", { live: { ...plain, volume: { kind: "none" } } }],
    ["is copied elsewhere", "VOLUME_BUSY", { state: copying("/other.raw") }],
    ["is pulled", "VOLUME_BUSY", { state: { kind: "busy", live: guestWith(plain), with: "Block Pull" } }],
    ["dm-crypt would decrypt", "VOLUME_UNSUPPORTED", { provider: new FakeDmCrypt() }],
    ["has lost its key", "KEY_NOT_FOUND", { state: copying(NEW.path), probe: undefined }],
  ])("refuses a disk that %s", (_, code, more) => {
    expect(refusal(more)).toBe(code);
  });

  test("makes no plain logical volume", () => {
    const volume: PathVolume = { kind: "block", path: "/dev/vg/new", format: "raw" };
    const more = { target: { volume, isNamed: true }, provider: undefined };
    expect(refusal(more, { to: "plain" })).toBe("VOLUME_UNSUPPORTED");
  });
});
