import { describe, expect, it } from "vitest";
import type { Ask } from "../../src/request/ask.js";
import { guestFromDomainXml } from "../../src/guest-config/domain-guest.js";
import { domainXml } from "../fixtures/domains/domains.js";
import { guestWith, nova } from "./guest.js";

const FLAVOR = "flavor m1.small (hw:ephemeral_encryption)";
const FLAVOR_FORMAT = "flavor m1.small (hw:ephemeral_encryption_format)";
const IMAGE = "image 70a599e0 (hw_ephemeral_encryption)";
const IMAGE_FORMAT = "image 70a599e0 (hw_ephemeral_encryption_format)";

describe("what flavor and image ask for", () => {
  it("is read from extra specs and image properties, flavor first", () => {
    const asks = asksOf(
      nova(
        {
          "hw:ephemeral_encryption": "true",
          "hw:ephemeral_encryption_format": "luks",
          "hw:cpu_policy": "shared",
        },
        { hw_ephemeral_encryption_format: "luksv2", hw_ephemeral_encryption: "False" },
      ),
    );
    expect(asks).toEqual([
      { source: FLAVOR, enabled: true },
      { source: FLAVOR_FORMAT, enabled: undefined, format: "luks" },
      { source: IMAGE, enabled: false },
      { source: IMAGE_FORMAT, enabled: undefined, format: "luksv2" },
    ]);
  });

  it.each(["1", "t", "TRUE", "on", " Yes\n", "y"])("is yes for %j", (value) => {
    expect(asksOf(nova({ "hw:ephemeral_encryption": value }))).toEqual([{ source: FLAVOR, enabled: true }]);
  });

  it.each(["0", "F", "false", "off", "n", "No"])("is no for %j", (value) => {
    expect(asksOf(nova({ "hw:ephemeral_encryption": value }))).toEqual([{ source: FLAVOR, enabled: false }]);
  });

  it.each(["", "maybe", "2", "true false", "None", "tru\u0435"])("cannot be understood as %j", (value) => {
    expect(problemOf(nova({ "hw:ephemeral_encryption": value }))).toBe("REQUEST_INVALID");
    expect(problemOf(nova({}, { hw_ephemeral_encryption: value }))).toBe("REQUEST_INVALID");
  });

  it.each(["", "LUKS", "luks2", "luks1", "dm-crypt"])("cannot be understood with format %j", (value) => {
    expect(problemOf(nova({ "hw:ephemeral_encryption_format": value }))).toBe("REQUEST_INVALID");
    expect(problemOf(nova({}, { hw_ephemeral_encryption_format: value }))).toBe("REQUEST_INVALID");
  });

  it("cannot be understood where it is said twice", () => {
    const spec = `<nova:extraSpec name="hw:ephemeral_encryption">true</nova:extraSpec>`;
    const twice = nova({ "hw:ephemeral_encryption": "false" }).replace("</nova:extraSpecs>", `${spec}$&`);
    expect(problemOf(twice)).toBe("REQUEST_INVALID");
  });

  it("passes over the key of the image's own bytes, if it is one", () => {
    const property = "hw_ephemeral_encryption_secret_uuid";
    expect(asksOf(nova({}, { [property]: "7f3a0c54-9b1e-4d27-8a60-1c2d3e4f5a6b" }))).toEqual([]);
    expect(problemOf(nova({}, { [property]: "../../key" }))).toBe("REQUEST_INVALID");
  });

  it("is read in versions 1.0 and 1.1, and in one to come", () => {
    const metadata = nova({ "hw:ephemeral_encryption": "true" });
    for (const version of ["1.0", "1.1", "1.2"]) {
      expect(asksOf(metadata.replace("nova/1.1", `nova/${version}`))).toHaveLength(1);
    }
  });

  it("is nothing where nobody asks", () => {
    expect(guestFromDomainXml(domainXml("nova-1.0")).asks).toEqual([]);
    expect(guestFromDomainXml(domainXml("ovirt-metadata")).asks).toEqual([]);
  });

  it("goes by namespaces, not by prefixes", () => {
    const { asks } = guestFromDomainXml(domainXml("xml-namespace-prefixes"));
    expect(asks.slice(0, 2)).toEqual([
      { source: "flavor m1.default-namespace (hw:ephemeral_encryption)", enabled: true },
      {
        source: "flavor m1.default-namespace (hw:ephemeral_encryption_format)",
        enabled: undefined,
        format: "luks",
      },
    ]);
    const foreign = nova({ "hw:ephemeral_encryption": "true" }).replace("openstack.org", "example.org");
    expect(asksOf(foreign)).toEqual([]);
  });

  it("speaks about local disks, not about volumes that Cinder attached", () => {
    const [ask] = guestFromDomainXml(domainXml("nova-1.1-cinder")).asks;
    expect(ask?.disks).toEqual(["vda", "vdb"]);
  });

  it("shows control characters of a flavor's name instead of printing them", () => {
    const metadata = nova({ "hw:ephemeral_encryption": "true" }).replace("m1.small", "m1&#x9b;31m");
    expect(asksOf(metadata)[0]?.source).toBe("flavor m1\\u{9b}31m (hw:ephemeral_encryption)");
  });
});

function asksOf(metadata: string): readonly Ask[] {
  return guestWith(metadata).asks;
}

function problemOf(metadata: string): string | undefined {
  const [ask, ...others] = asksOf(metadata);
  expect(others).toEqual([]);
  return ask?.problem?.code;
}
