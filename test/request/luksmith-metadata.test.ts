import { describe, expect, it } from "vitest";
import { guestWith, luksmith } from "./guest.js";

const source = "guest metadata (luksmith:encryption)";

describe("what the guest's own metadata asks for", () => {
  it("is encryption of all its disks without any attribute", () => {
    expect(guestWith(luksmith("")).asks).toEqual([{ source, enabled: true }]);
  });

  it("is what the attributes say", () => {
    const { asks, tags } = guestWith(
      luksmith(`enabled="yes" format="luks" profile="strong" tags="  finance\teu "`),
    );
    expect(asks).toEqual([{ source, enabled: true, format: "luks", profile: "strong" }]);
    expect(tags).toEqual(["finance", "eu"]);
  });

  it("can be no, and can be left to the operator's rules", () => {
    expect(guestWith(luksmith(`enabled="no"`)).asks).toEqual([{ source, enabled: false }]);
    const { asks, tags } = guestWith(luksmith(`enabled="by-rules" tags="eu"`));
    expect(asks).toEqual([{ source, enabled: undefined }]);
    expect(tags).toEqual(["eu"]);
  });

  it("is about the disks that it names", () => {
    const { asks } = guestWith(luksmith("", `<luksmith:disk dev="vdb"/>`));
    expect(asks).toEqual([{ source, enabled: true, disks: ["vdb"] }]);
  });

  it("is nothing without our element", () => {
    const { asks, tags } = guestWith(`<encryption enabled="yes"/><x:encryption xmlns:x="urn:x" tags="a"/>`);
    expect([asks, tags]).toEqual([[], []]);
  });
});

describe("metadata that a typo has changed is refused, and does not mean plaintext", () => {
  const dev = (name: string) => `<luksmith:disk dev="${name}"/>`;
  it.each<[string, string]>([
    ["an unknown attribute", luksmith(`enable="yes"`)],
    ["an attribute with a prefix", luksmith(`luksmith:enabled="no"`)],
    ["an unknown value", luksmith(`enabled="ye"`)],
    ["an unknown format", luksmith(`format="luks1"`)],
    ["a profile that cannot be one", luksmith(`profile="../x&#x9b;"`)],
    ["an empty profile", luksmith(`profile=""`)],
    ["an unknown child element", luksmith("", "<luksmith:disks/>")],
    ["a child element in no namespace", luksmith("", `<disk dev="vda"/>`)],
    ["text", luksmith("", "vda")],
    ["an unknown element", luksmith("").replaceAll("luksmith:encryption", "luksmith:encrypt")],
    ["an unknown version of the namespace", luksmith("").replace("guest:1", "guest:2")],
    ["an unknown namespace of ours", luksmith("").replace("guest:1", "gest:1")],
    ["the element twice", luksmith("") + luksmith("")],
    ["a disk without a name", luksmith("", "<luksmith:disk/>")],
    ["a disk with an unknown attribute", luksmith("", `<luksmith:disk dev="vda" format="luks"/>`)],
    ["a disk that the guest does not have", luksmith("", dev("vdc"))],
    ["a disk that is a property of every object", luksmith("", dev("constructor"))],
    ["a CD-ROM", luksmith("", dev("sda"))],
  ])("%s", (_, metadata) => {
    const [ask, ...others] = guestWith(metadata).asks;
    expect(ask?.problem?.code).toBe("REQUEST_INVALID");
    expect(others).toEqual([]);
  });

  it("names a CD-ROM only to say no", () => {
    const [ask] = guestWith(luksmith(`enabled="no"`, dev("sda"))).asks;
    expect(ask).toEqual({ source, enabled: false, disks: ["sda"] });
  });
});
