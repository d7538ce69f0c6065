import { describe, expect, it } from "vitest";
import { whyNotLibrbd } from "../../../src/storage/rbd/rbd-engine.js";

const MENDED = { librbd: "18.2.5", qemu: "10.0.2", libvirt: "11.3.0" };

describe("librbd as the engine", () => {
  it.each(["17.2.8", "17.2.9", "18.2.5", "18.2.7", "19.2.0", "19.2.3", "20.1.0", "21.0.0"])(
    "may decrypt where it is librbd %s",
    (librbd) => {
      expect(whyNotLibrbd({ ...MENDED, librbd })).toBeUndefined();
    },
  );

  it.each([
    ["14.2.21", "17.2.8"],
    ["16.1.0", "17.2.8"],
    ["16.2.15", "17.2.8"],
    ["17.2.7", "17.2.8"],
    ["18.0.0", "18.2.5"],
    ["18.2.4", "18.2.5"],
    ["19.0.0", "19.2.0"],
    ["19.1.1", "19.2.0"],
  ])("may not where librbd %s takes data for holes", (librbd, mended) => {
    expect(whyNotLibrbd({ ...MENDED, librbd })).toBe(
      `librbd ${librbd} loses data in copies of an encrypted disk; ${mended} does not`,
    );
  });

  it("needs a QEMU and a libvirt that know it", () => {
    expect(whyNotLibrbd({ ...MENDED, qemu: "6.0.1" })).toBe("QEMU 6.0.1 is older than 6.1");
    expect(whyNotLibrbd({ ...MENDED, libvirt: "7.8.0" })).toBe("libvirt 7.8.0 is older than 7.9");
    expect(whyNotLibrbd({ ...MENDED, qemu: "6.1.0", libvirt: "7.9.0" })).toBeUndefined();
    expect(whyNotLibrbd({ ...MENDED, libvirt: undefined })).toBeUndefined();
  });
});
