import { describe, expect, it } from "vitest";
import type { MappingClaim } from "../../src/encryption/encryption-provider.js";
import { newKeyUuid } from "../../src/keystore/key-uuid.js";
import type { Plan, Step } from "../../src/plan/step.js";
import { closingLeftovers } from "../../src/reap/leftovers-of-start.js";

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

describe("the plan of a start", () => {
  it("closes first what it does not open again", () => {
    expect(closingLeftovers(plan, [claim("luksmith-a", "vda"), claim("luksmith-b", "vdb")])).toEqual({
      stages: [[{ kind: "close-mapping", disk: "vdb", mapping: "luksmith-b" }], [opening]],
    });
  });

  it("is as it was where nothing is left", () => {
    expect(closingLeftovers(plan, [])).toEqual(plan);
    expect(closingLeftovers(plan, [claim("luksmith-a", "vda")])).toEqual(plan);
  });
});
