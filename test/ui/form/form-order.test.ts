import { describe, expect, it } from "vitest";
import { settingsForm } from "../../../src/ui/form/fields-of.js";
import { inFormOrder } from "../../../src/ui/form/form-order.js";

const SETTINGS = {
  keystores: [{ name: "cloud", type: "barbican", keystone: { method: "password" } }],
};

describe("inFormOrder", () => {
  it.each([
    ["items by their number", ["/keystores/2/name", "/keystores/10/name"]],
    ["an object before what it has", ["/keystores/0", "/keystores/0/type", "/keystores/0/name"]],
    ["a secret before its file", ["/keystores/0/keystone/password", "/keystores/0/keystone/passwordFile"]],
    ["what has no field after what has one", ["/profiles/0/name", "/profiles/0/colour", "/rules", "/colour"]],
  ])("puts %s", (_, pointers) => {
    const sorted = inFormOrder(
      settingsForm(),
      SETTINGS,
      pointers.toReversed().map((pointer) => ({ pointer })),
    );
    expect(sorted.map(({ pointer }) => pointer)).toEqual(pointers);
  });

  it("leaves what is at one place as it was", () => {
    const two = ["first", "second"].map((sentence) => ({ pointer: "/colour", sentence }));
    expect(inFormOrder(settingsForm(), SETTINGS, two)).toEqual(two);
  });
});
