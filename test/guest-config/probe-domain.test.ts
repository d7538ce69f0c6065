import { describe, expect, it } from "vitest";
import { probeDomainXml } from "../../src/guest-config/probe-domain.js";
import { probedXml } from "../../src/guest-config/probe-metadata.js";
import { parseDomain } from "../../src/guest-config/domain.js";
import { domainXml } from "../lab/test-domain.js";

const UUID = "5afe9aab-0794-45bc-8958-b5600a7a36a0";
const NAME = "luksmith-check-1";
const probeFor = (guestXml: string) => probeDomainXml({ name: NAME, uuid: UUID, guestXml });

describe("a probe", () => {
  it.each([
    ["plain", domainXml({ name: "web1" })],
    [
      "hostile",
      domainXml({ name: `<&>'" ]]> ü\u{1f511}`, metadata: "<!-- </luksmith:guest> --><![CDATA[<]]>" }),
    ],
    ["with carriage returns", domainXml({ name: "web1" }).replaceAll("\n", "\r\n")],
    ["with a declaration", `<?xml version="1.0"?>\n${domainXml({ name: "web1" })}\n`],
  ])("brings a configuration that is %s as it is", (_, guestXml) => {
    expect(probedXml(probeFor(guestXml))).toBe(guestXml);
  });

  it("is of the guest's kind, so that a host that can run the one can define the other", () => {
    const guestXml = domainXml({ name: "web1" }).replace("arch='x86_64'", "arch='aarch64'");
    const domain = parseDomain(probeFor(guestXml));
    expect(domain.attribute("type")).toBe("qemu");
    expect(domain.element("os")?.element("type")?.attribute("arch")).toBe("aarch64");
    expect(domain.element("uuid")?.text).toBe(UUID);
  });

  it("is no probe without the guest", () => {
    expect(probedXml(domainXml({ name: NAME }))).toBeUndefined();
  });
});
