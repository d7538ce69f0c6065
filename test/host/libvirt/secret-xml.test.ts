import { expect, it } from "vitest";
import { parseUsage, type SecretUsage } from "../../../src/host/libvirt/secret-usage.js";
import { secretXml } from "../../../src/host/libvirt/secret-xml.js";
import { newKeyUuid } from "../../../src/keystore/key-uuid.js";
import { wellFormed, xpathString } from "../../fixtures/domains/xmllint.js";

const uuid = newKeyUuid();
const guestId = "5d0a7e9c-41b6-4f83-bb5a-2f9c6d1e8a70";
const identity: SecretUsage = { uuid, guestId, disk: "vda", opens: "disk", over: [] };

it("defines a secret that libvirt neither stores nor tells, and that names its disk", () => {
  const xml = secretXml({ ...identity, guestName: "web1" });
  expect([xpathString(xml, "/secret/@ephemeral"), xpathString(xml, "/secret/@private")]).toEqual([
    "yes",
    "yes",
  ]);
  expect(xpathString(xml, "/secret/uuid")).toBe(uuid);
  expect(xpathString(xml, "/secret/usage[@type='volume']/volume")).toBe(`luksmith:${guestId}:vda:${uuid}`);
  expect(xpathString(xml, "/secret/description")).toBe("Luksmith: disk vda of guest web1");
});

it("is well-formed whatever the guest is called", () => {
  const names = ["web1", "R&D <lab> \"'", "]]><x/>", "\u{1}\u{9b}\n\0", "Büro-🔐", "\uD800"];
  const documents = names.map((guestName) => secretXml({ ...identity, guestName }));
  expect(wellFormed(documents)).toEqual(new Set(names.keys()));
});

it.each<[string, Partial<SecretUsage>]>([
  ["a disk's own volume", {}],
  ["an overlay", { over: [newKeyUuid()] }],
  ["an overlay over another one", { over: [newKeyUuid(), newKeyUuid()] }],
  ["a base", { opens: "base" }],
])("reads back what it wrote into the usage for %s", (_, more) => {
  const written = { ...identity, ...more };
  const usage = xpathString(secretXml({ ...written, guestName: "web1" }), "/secret/usage/volume");
  expect(parseUsage(usage)).toEqual(written);
});

it.each([
  "",
  "/srv/vm/a.img",
  "luksmith",
  `luksmith:${guestId}:vda`,
  `luksmith:${guestId}:vda:${uuid}:more`,
  `luksmith:${guestId}:vda:${uuid}:over`,
  `luksmith:${guestId}:vda:${uuid}:over:`,
  `luksmith:${guestId}:vda:${uuid}:over:${"0".repeat(36)}`,
  `luksmith:${guestId}:vda:${uuid}:base:${uuid}`,
  `luksmith:${guestId}:vda:${"0".repeat(36)}`,
  `luksmith::vda:${uuid}`,
  `luksmith:../../etc:vda:${uuid}`,
  `xluksmith:${guestId}:vda:${uuid}`,
  `luksmith:${guestId}:vda:${uuid}\n`,
])("takes no other usage for ours: %j", (usage) => {
  expect(parseUsage(usage)).toBeUndefined();
});
