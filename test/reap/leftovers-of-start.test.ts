import { describe, expect, it } from "vitest";
import type { MappingClaim } from "../../src/encryption/encryption-provider.js";
import { newKeyUuid } from "../../src/keystore/key-uuid.js";
import type { Plan, Step } from "../../src/plan/step.js";
import { closingLeftovers } from "../../src/reap/leftovers-of-start.js";
import { disk, guestWith, uuid as key } from "../plan/builders.js";

const uuid = newKeyUuid();
const opening: Step = {
  kind: "open-mapping",
  ...{
    disk: "vda",
    uuid,
    mapping: "luksmith-a",
    volume: { kind: "block", path: "/dev/vg/a", format: "raw" },
  },
  encryption: { format: "luks", cipher: "aes-xts-plain64", keySize: 512, hash: "sha256" },
};
const plan: Plan = { stages: [[opening]] };

function claim(name: string, disk: string): MappingClaim {
  return { name, disk, uuid, guest: { id: newKeyUuid(), name: "web1" }, volume: "/dev/vg/a" };
}

const GUEST = guestWith();

describe("the plan of a start", () => {
  it("is refused where what is left is busy over a disk of the guest, which QEMU opens now", () => {
    const isOverDisk = { ...claim("luksmith-b", "vda"), volume: "/srv/vm/vda.img" };
    const hasItsKey = { ...claim("luksmith-c", "vda"), uuid: key(1) };
    const busy = { kind: "close-mapping", disk: "vda", ifBusy: "refuse" };
    expect(
      closingLeftovers(guestWith(disk("vda", 1)), plan, [isOverDisk, hasItsKey]).stages[0],
    ).toMatchObject([
      { ...busy, mapping: "luksmith-b" },
      { ...busy, mapping: "luksmith-c" },
    ]);
  });

  it("closes first what it does not open again", () => {
    expect(closingLeftovers(GUEST, plan, [claim("luksmith-a", "vda"), claim("luksmith-b", "vdb")])).toEqual({
      stages: [[{ kind: "close-mapping", disk: "vdb", mapping: "luksmith-b" }], [opening]],
    });
  });

  it("is as it was where nothing is left", () => {
    expect(closingLeftovers(GUEST, plan, [])).toEqual(plan);
    expect(closingLeftovers(GUEST, plan, [claim("luksmith-a", "vda")])).toEqual(plan);
  });
});
