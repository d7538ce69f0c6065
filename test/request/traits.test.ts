import { expect, it } from "vitest";
import { offeredTraits, requiredTraits } from "../../src/request/traits.js";
import { guestWith, nova } from "./guest.js";

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

it("offers encryption only with a format", () => {
  expect(offeredTraits([])).toEqual([]);
  expect(offeredTraits(["luks", "luks", "plain"])).toEqual([
    ENCRYPTION,
    `${ENCRYPTION}_LUKS`,
    `${ENCRYPTION}_PLAIN`,
  ]);
});

function required(specs: Readonly<Record<string, string>>) {
  return requiredTraits(guestWith(nova(specs)).asks);
}
