import { describe, expect, test } from "vitest";
import type { DiskMapping } from "../../src/disk-info/disk-info.js";
import { legacyAsk, legacySpec } from "../../src/request/legacy.js";
import type { LegacySettings } from "../../src/settings/settings.js";
import type { Volume } from "../../src/storage/volume.js";

const OFF: LegacySettings = { enabled: false, cipher: "aes-xts-plain64", keySize: 512, hash: "ripemd160" };
const ON: LegacySettings = { ...OFF, enabled: true };

function diskOn(volume: Volume): DiskMapping {
  return { bus: "virtio", dev: "vda", type: "disk", encrypted: false, volume, readOnly: false };
}

const block = (path: string): Volume => ({ kind: "block", path, format: "raw" });

describe("the legacy settings", () => {
  test.each(["/dev/vg/vm1", "/dev/mapper/vg-vm1", "/dev/mapper/a-b-c_disk-dmcrypt"])(
    "ask for plain on logical volumes: %s",
    (path) => {
      expect(legacyAsk(ON, diskOn(block(path)))).toEqual([
        { source: "legacy.enabled", enabled: true, format: "plain" },
      ]);
    },
  );

  test.each<[string, Volume]>([
    ["image files", { kind: "file", path: "/srv/vm/vda.img", format: "raw" }],
    ["other devices", block("/dev/sdb")],
    ["partitions by their links", block("/dev/disk/by-id/wwn-1")],
    ["RBD images", { kind: "rbd", pool: "vms", image: "vda", format: "raw" }],
  ])("say nothing about %s", (_, volume) => {
    expect(legacyAsk(ON, diskOn(volume))).toEqual([]);
  });

  test("say nothing while they are off", () => {
    expect(legacyAsk(OFF, diskOn(block("/dev/vg/vm1")))).toEqual([]);
  });

  test("have the parameters of plain volumes, and forbid these while they are off", () => {
    expect(legacySpec(ON)).toEqual({
      format: "plain",
      cipher: "aes-xts-plain64",
      keySize: 512,
      hash: "ripemd160",
    });
    expect(() => legacySpec(OFF)).toThrow(expect.objectContaining({ code: "TRAIT_MISSING" }));
  });
});
