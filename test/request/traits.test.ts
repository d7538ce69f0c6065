import { expect, it } from "vitest";
import { traitsOf } from "../../src/encryption/traits.js";
import { namedFormat, requiredTraits } from "../../src/request/traits.js";
import { guestWith, luksmith, nova } from "./guest.js";

const ENCRYPTION = "COMPUTE_EPHEMERAL_ENCRYPTION";

it("requires no trait where nothing is asked", () => {
  expect(requiredTraits(guestWith("").asks)).toEqual([]);
  expect(required({ "hw:ephemeral_encryption": "no" })).toEqual([]);
  expect(required({ "hw:ephemeral_encryption_format": "luks" })).toEqual([]);
});

it("requires encryption as such without a format", () => {
  expect(required({ "hw:ephemeral_encryption": "yes" })).toEqual([ENCRYPTION]);
});

it.each([
  ["luks", `${ENCRYPTION}_LUKS`],
  ["luksv2", `${ENCRYPTION}_LUKSV2`],
  ["plain", `${ENCRYPTION}_PLAIN`],
])("requires the format too where one is asked for: %s", (format, trait) => {
  const specs = { "hw:ephemeral_encryption": "yes", "hw:ephemeral_encryption_format": format };
  expect(required(specs)).toEqual([ENCRYPTION, trait]);
});

it("requires no format that is named for another disk than the one that is asked for", () => {
  const yes = { source: "a", enabled: true, disks: ["vda"] };
  const format = { source: "b", enabled: undefined, format: "luksv2" } as const;
  expect(requiredTraits([yes, { ...format, disks: ["vdb"] }])).toEqual([ENCRYPTION]);
  expect(requiredTraits([yes, { ...format, disks: ["vda", "vdb"] }])).toEqual([
    ENCRYPTION,
    `${ENCRYPTION}_LUKSV2`,
  ]);
  expect(requiredTraits([yes, format])).toEqual([ENCRYPTION, `${ENCRYPTION}_LUKSV2`]);
});

it("knows the format that is named for a disk, by whomever", () => {
  const { asks } = guestWith(luksmith("format='luksv2'"));
  expect(namedFormat(asks, "vda")).toBe("luksv2");
  const limited = asks.map((ask) => ({ ...ask, disks: ["vdb"] }));
  expect(namedFormat(limited, "vda")).toBeUndefined();
  expect(namedFormat(limited, "vdb")).toBe("luksv2");
  expect(namedFormat(guestWith(luksmith("")).asks, "vda")).toBeUndefined();
});

it("offers encryption only with a format", () => {
  expect(traitsOf([])).toEqual([]);
  expect(traitsOf(["luks", "luks", "plain"])).toEqual([
    ENCRYPTION,
    `${ENCRYPTION}_LUKS`,
    `${ENCRYPTION}_PLAIN`,
  ]);
});

function required(specs: Readonly<Record<string, string>>) {
  return requiredTraits(guestWith(nova(specs)).asks);
}
