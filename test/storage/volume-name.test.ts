import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { volumeName } from "../../src/storage/volume.js";
import { parseRbdName } from "../../src/storage/volume-name.js";

describe("the name of an RBD image", () => {
  it.each([
    ["rbd:vms/disk-0", { pool: "vms", image: "disk-0" }],
    ["rbd:vms/tenant 1/disk:0", { pool: "vms", namespace: "tenant 1", image: "disk:0" }],
    ["rbd:rbd:x/ünï", { pool: "rbd:x", image: "ünï" }],
  ])("%s is read", (name, parts) => {
    expect(parseRbdName(name)).toEqual({ kind: "rbd", format: "raw", ...parts });
  });

  it.each([
    ...["", "rbd:", "rbd:vms", "rbd:vms/", "rbd:/disk", "rbd:vms//disk", "rbd:a/b/c/d", "vms/disk"],
    ...["RBD:vms/disk", "rbd:vms/disk@snap", "rbd:vms/a\u0000b", "rbd:vms/disk\n", " rbd:vms/disk"],
  ])("is not %j", (name) => {
    expect(parseRbdName(name)).toBeUndefined();
  });

  it("is read as it is written", () => {
    const part = fc.string({ unit: "grapheme", minLength: 1 }).filter((text) => !/[/@\p{Cc}]/u.test(text));
    const image = { pool: part, image: part };
    const volumes = fc.oneof(fc.record(image), fc.record({ ...image, namespace: part }));
    fc.assert(
      fc.property(volumes, (parts) => {
        const volume = { kind: "rbd", format: "raw", ...parts } as const;
        expect(parseRbdName(volumeName(volume))).toEqual(volume);
      }),
    );
  });
});
