import { describe, expect, it } from "vitest";
import { previewRequests } from "../../src/request/preview.js";
import { parseSettings } from "../../src/settings/load.js";
import { guestWith, luksmith, nova } from "./guest.js";

const settingsWith = (settings: object) => parseSettings(JSON.stringify({ version: 1, ...settings }), "test");
const preview = (metadata: string, settings: object = {}) =>
  previewRequests(guestWith(metadata), settingsWith(settings));

describe("a preview of settings", () => {
  it("tells the rule that speaks for each disk, and what it wishes", () => {
    const rules = [
      { name: "scratch", storage: "/dev/vg/*", encrypt: false },
      { name: "web", guest: "web*", profile: "strict" },
      { name: "rest" },
    ];
    const profiles = [{ name: "default" }, { name: "strict", hash: "sha512" }];
    expect(preview("", { rules, profiles })).toEqual([
      {
        ...{ device: "vda", volume: "/srv/vm/a.img", rule: "web", wish: "encrypted" },
        ...{ profile: "strict", askedBy: ["rule web"] },
      },
      { device: "vdb", volume: "/dev/vg/b", rule: "scratch", wish: "plain", askedBy: ["rule scratch"] },
    ]);
  });

  it("tells that nobody asks, and who asks besides the rules", () => {
    expect(preview("").map(({ wish, askedBy }) => [wish, askedBy])).toEqual([
      ["none", []],
      ["none", []],
    ]);
    const [first] = preview(nova({ "hw:ephemeral_encryption": "true" }), { rules: [{ name: "all" }] });
    expect(first).toMatchObject({ rule: "all", wish: "encrypted", profile: "default" });
    expect(first?.askedBy).toHaveLength(2);
  });

  it("tells a conflict of one disk beside what holds for the others", () => {
    const rules = [{ name: "scratch", storage: "/dev/vg/*", encrypt: false }];
    const [vda, vdb] = preview(nova({ "hw:ephemeral_encryption": "true" }), { rules });
    expect(vda).toMatchObject({ wish: "encrypted" });
    expect(vdb).toMatchObject({ wish: "conflict", rule: "scratch", problem: { code: "REQUEST_CONFLICT" } });
    expect(vdb).not.toHaveProperty("profile");
    expect(vdb?.askedBy).toHaveLength(2);
  });

  it("says nothing of a guest's disks where somebody cannot be understood", () => {
    expect(() => preview(luksmith("enabled='perhaps'"))).toThrow(
      expect.objectContaining({ code: "REQUEST_INVALID" }),
    );
  });
});
