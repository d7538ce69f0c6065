import { describe, expect, it } from "vitest";
import type { StatusOutput } from "../../../src/generated/status.js";
import { profileRemovalOf, removalOf } from "../../../src/ui/form/removal.js";
import { keysInUse, whoUses } from "../../../src/ui/form/usage.js";

const SETTINGS = {
  keystores: [
    { name: "local", type: "file" },
    { name: "vault", type: "vault" },
    { name: "old", type: "kmip" },
  ],
  profiles: [{ name: "default" }, { name: "strong", keystore: "vault" }, { name: "fast" }],
};

describe("whoUses", () => {
  it("names the profiles that name the keystore", () => {
    expect(whoUses(SETTINGS, "vault")).toEqual(["strong"]);
  });

  it("names the profiles that name none, for the first keystore", () => {
    expect(whoUses(SETTINGS, "local")).toEqual(["default", "fast"]);
  });

  it("knows the default profile and the default keystore of settings that say nothing", () => {
    expect(whoUses({ version: 1 }, "local")).toEqual(["default"]);
    expect(whoUses({ version: 1, keystores: [{ name: "vault", type: "vault" }] }, "vault")).toEqual([
      "default",
    ]);
  });

  it("names nobody for a keystore that nobody uses", () => {
    expect(whoUses(SETTINGS, "old")).toEqual([]);
  });
});

describe("removalOf", () => {
  it("refuses a keystore that a profile uses, by name or by being the first", () => {
    expect(removalOf(SETTINGS, SETTINGS, 1)).toMatchObject({
      kind: "refused",
      profiles: ["strong"],
      isFirst: false,
    });
    expect(removalOf(SETTINGS, SETTINGS, 0)).toMatchObject({
      kind: "refused",
      profiles: ["default", "fast"],
    });
  });

  it("refuses the only keystore", () => {
    const only = {
      keystores: [{ name: "old", type: "kmip" }],
      profiles: [{ name: "default", keystore: "else" }],
    };
    expect(removalOf(only, only, 0)).toEqual({ kind: "refused", why: "only-one" });
  });

  it("warns of keys in a keystore that the host knows, also where it was given another name since", () => {
    expect(removalOf(SETTINGS, SETTINGS, 2)).toEqual({ kind: "saved", names: ["old"] });
    const renamed = {
      ...SETTINGS,
      keystores: [...SETTINGS.keystores.slice(0, 2), { name: "older", type: "kmip" }],
    };
    expect(removalOf(SETTINGS, renamed, 2)).toEqual({ kind: "saved", names: ["old"] });
  });

  it("asks nothing for a keystore that was never saved", () => {
    const added = { ...SETTINGS, keystores: [...SETTINGS.keystores, { type: "vault" }] };
    expect(removalOf(SETTINGS, added, 3)).toEqual({ kind: "new" });
  });
});

describe("profileRemovalOf", () => {
  const settings = { ...SETTINGS, rules: [{ name: "all", profile: "strong" }, { profile: "strong" }] };

  it("refuses the profile that holds where none is named, also while the settings name none", () => {
    expect(profileRemovalOf(settings, 0)).toEqual({ kind: "refused", why: "default" });
    expect(profileRemovalOf({ version: 1 }, 0)).toEqual({ kind: "refused", why: "default" });
  });

  it("refuses a profile that rules name, and says which rules", () => {
    expect(profileRemovalOf(settings, 1)).toEqual({ kind: "refused", why: "used", rules: ["all", "2"] });
  });

  it("has nothing against another one", () => {
    expect(profileRemovalOf(settings, 2)).toEqual({ kind: "free" });
  });

  it("has nothing against one that has a namesake, or no name yet", () => {
    const profiles = [{ name: "default" }, { name: "default" }, {}];
    expect(profileRemovalOf({ profiles }, 1)).toEqual({ kind: "free" });
    expect(profileRemovalOf({ profiles }, 2)).toEqual({ kind: "free" });
  });
});

type Disk = StatusOutput["guests"][number]["disks"][number];

describe("keysInUse", () => {
  const disk: Omit<Disk, "device"> = {
    ...{ type: "file", volume: "/v", askedBy: [] },
    ...{ protection: "encrypted", verdict: "protected" },
  };
  const status: StatusOutput = {
    guests: [
      {
        ...{ id: "1", name: "web", running: false, dataPlaces: [] },
        disks: [
          { ...disk, device: "vda", keystore: "old" },
          { ...disk, device: "vdb", keystore: "vault" },
          { ...disk, device: "vdc", verdict: "unproven", protection: "unknown" },
        ],
      },
    ],
  };

  it("names the disks whose key is there, and counts those of which nobody knows", () => {
    expect(keysInUse(status, ["old"])).toEqual({ disks: ["web vda"], unknown: 1 });
  });

  it("counts guests that could not be read as unknown", () => {
    const disks = {
      protected: 0,
      unprotected: 0,
      plain: 0,
      pending: 0,
      foreign: 0,
      unproven: 0,
      shredded: 0,
    };
    const unread = { guests: [], summary: { guests: 2, unreadable: 2, disks } };
    expect(keysInUse(unread, ["old"])).toEqual({ disks: [], unknown: 2 });
  });
});
