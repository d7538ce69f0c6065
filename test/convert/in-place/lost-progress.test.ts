import { closeSync, openSync, readFileSync, statSync, writeFileSync, writeSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { KeyUse } from "../../../src/audit/audit-log.js";
import { LuksmithError } from "../../../src/error/luksmith-error.js";
import { FileHeaderVault } from "../../../src/headers/file-header-vault.js";
import type { KeyRecord } from "../../../src/generated/key-record.js";
import type { RecordChange } from "../../../src/keystore/keystore.js";
import { VolumeFile } from "../../../src/storage/volume-file.js";
import { InPlaceWorld } from "./in-place-world.js";

const MIB = 1024 * 1024;
const SIZE = 16 * MIB;

vi.setConfig({ testTimeout: 120_000 });

let world: InPlaceWorld;

beforeEach(() => {
  world = new InPlaceWorld(SIZE);
});
afterEach(() => {
  vi.restoreAllMocks();
  world[Symbol.dispose]();
});

/** Ends a conversion when so much of it is done. */
async function cutAt(to: "encrypted" | "plain", percent: number): Promise<void> {
  const cut = vi.spyOn(world.percents, "push").mockImplementation((value) => {
    if (value >= percent) throw new LuksmithError("VOLUME_WRITE_FAILED", { what: "the power is gone" });
    return 0;
  });
  expect(await world.failure(to)).toBe("VOLUME_WRITE_FAILED");
  cut.mockRestore();
}

async function recordOfKey(): Promise<KeyRecord> {
  const [record] = await world.keystore.list();
  return record!;
}

/** What a guest does that was started from a plain definition, where nobody knew better. */
function writeAsGuest(from: number, to: number): void {
  const fd = openSync(world.path, "r+");
  writeSync(fd, Buffer.alloc(to - from, 0x42), 0, to - from, from);
  closeSync(fd);
}

describe("a host that knows of a conversion by the key's record alone", () => {
  it("does not encrypt a second time what has lost its signposts", async () => {
    await cutAt("encrypted", 40);
    expect((await recordOfKey()).conversion).toMatchObject({ to: "encrypted", payload: SIZE });
    world.forgetHost();
    writeAsGuest(4 * MIB, 14 * MIB);
    const before = world.bytes();
    const destroy = vi.spyOn(FileHeaderVault.prototype, "destroy");
    expect(await world.failure("encrypted")).toBe("CONVERT_FAILED");
    expect(destroy).not.toHaveBeenCalled();
    expect(world.bytes().equals(before)).toBe(true);
    expect((await recordOfKey()).conversion).toMatchObject({ to: "encrypted", payload: SIZE });
  });

  it.each([
    ["of the size that the decrypted one is to have", SIZE],
    ["of the same size", SIZE + 2 * MIB],
    ["that is empty", 0],
  ])("does not take another volume for what it has decrypted: one %s", async (_, size) => {
    await world.convert("encrypted");
    await cutAt("plain", 40);
    const half = readFileSync(world.path);
    world.forgetHost();
    writeFileSync(world.path, Buffer.alloc(size));
    expect(await world.failure("plain")).toBe("CONVERT_FAILED");
    const { uuid, conversion } = await recordOfKey();
    expect(conversion).toMatchObject({ to: "plain", payload: SIZE });
    expect(world.host.xml).toContain(uuid);
    writeFileSync(world.path, half);
    await world.convert("plain");
    expect(world.bytes().equals(world.plain)).toBe(true);
    expect(await recordOfKey()).not.toHaveProperty("conversion");
  });

  it("does not take another volume for it either where the configuration does not name the key", async () => {
    const plain = world.host.xml;
    await world.convert("encrypted");
    await cutAt("plain", 40);
    world.host.xml = plain;
    writeFileSync(world.path, Buffer.alloc(SIZE));
    expect(await world.failure("plain")).toBe("CONVERT_FAILED");
    expect((await recordOfKey()).conversion).toMatchObject({ to: "plain" });
  });

  it("ends a decryption of which all was moved, whatever a guest has written since", async () => {
    await world.convert("encrypted");
    const failure = new LuksmithError("AUDIT_UNWRITABLE", { what: "no room" });
    const real = world.audit.record.bind(world.audit);
    vi.spyOn(world.audit, "record").mockImplementation((...uses: readonly KeyUse[]) =>
      uses.some(({ detail }) => detail === "decrypted in place") ? Promise.reject(failure) : real(...uses),
    );
    expect(await world.failure("plain")).toBe("AUDIT_UNWRITABLE");
    vi.restoreAllMocks();
    expect((await recordOfKey()).conversion?.movedAt).toBeDefined();
    world.forgetHost();
    writeAsGuest(SIZE, SIZE + MIB);
    await world.convert("plain");
    expect(world.bytes().subarray(0, SIZE).equals(world.plain)).toBe(true);
    expect(statSync(world.path).size).toBe(SIZE + MIB);
    expect(await recordOfKey()).not.toHaveProperty("conversion");
  });
});

describe("the key's record", () => {
  /** What the volume is when the record is changed in this way. */
  function whenItSays(what: "payload" | "movedAt"): Promise<Buffer> {
    return new Promise((resolve) => {
      const real = world.keystore.change.bind(world.keystore);
      vi.spyOn(world.keystore, "change").mockImplementation((uuid, change: RecordChange) =>
        real(uuid, (record) => {
          const changed = change(record);
          const isSaid = changed.conversion?.[what] !== record.conversion?.[what];
          if (isSaid && changed.conversion?.[what] !== undefined) resolve(world.bytes());
          return changed;
        }),
      );
    });
  }

  it.each(["encrypted", "plain"] as const)(
    "says that bytes move when a signpost is there, and before the first is moved: %s",
    async (to) => {
      if (to === "plain") await world.convert("encrypted");
      const before = world.bytes();
      const seen = whenItSays("payload");
      await world.convert(to);
      const bytes = await seen;
      const at = bytes.indexOf("LUKSMITH MOVING");
      expect(at).toBeGreaterThan(0);
      expect(bytes.subarray(0, Math.min(at, SIZE)).equals(before.subarray(0, Math.min(at, SIZE)))).toBe(true);
    },
  );

  it("says that all is moved while the volume still says so", async () => {
    await world.convert("encrypted");
    const seen = whenItSays("movedAt");
    await world.convert("plain");
    const bytes = await seen;
    expect(bytes.subarray(0, SIZE).equals(world.plain)).toBe(true);
    expect(bytes.indexOf("LUKSMITH MOVING", SIZE)).toBeGreaterThanOrEqual(SIZE);
  });

  it("forgets that all was moved when the volume has come back from a backup", async () => {
    await world.convert("encrypted");
    const backup = world.bytes();
    const real = Object.getOwnPropertyDescriptor(VolumeFile.prototype, "extend")!;
    vi.spyOn(VolumeFile.prototype, "extend").mockRejectedValue(
      new LuksmithError("VOLUME_GROW_FAILED", { what: "the disk is gone" }),
    );
    expect(await world.failure("plain")).toBe("VOLUME_GROW_FAILED");
    Object.defineProperty(VolumeFile.prototype, "extend", real);
    expect((await recordOfKey()).conversion?.movedAt).toBeDefined();
    writeFileSync(world.path, backup);
    await cutAt("plain", 40);
    expect((await recordOfKey()).conversion).not.toHaveProperty("movedAt");
    await world.convert("plain");
    expect(world.bytes().equals(world.plain)).toBe(true);
  });
});
