import { describe, expect, it } from "vitest";
import { HOOK_CALLS, parseEvent } from "../../../src/host/libvirt/events.js";
import { PROBE_NAMESPACE } from "../../../src/guest-config/probe-metadata.js";
import { probeDomainXml } from "../../../src/guest-config/probe-domain.js";
import { domainXml, escapeXml } from "../../lab/test-domain.js";

const uuid = "5afe9aab-0794-45bc-8958-b5600a7a36a0";
const OTHER = "8a2b0b9e-5cbb-4ba8-a9a0-7e9c7f6f2f6e";
const DISK = `<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='/vm/a &amp; "b".raw'/>
  <target dev='vda' bus='virtio'/></disk>`;

describe("parseEvent", () => {
  it.each([
    ["prepare", "begin", "pre-start", "start"],
    ["restore", "begin", "pre-start", "restore"],
    ["reconnect", "begin", "pre-start", "reconnect"],
    ["migrate", "begin", "pre-migrate", "migrate"],
    ["started", "begin", "pre-migrate", "arrival"],
    ["release", "end", "post-stop", "stop"],
  ] as const)("takes %s %s as %s because of %s", (operation, subOperation, event, cause) => {
    const argv = ["web1", operation, subOperation, "-"];
    const parsed = parseEvent({ event, argv, stdin: domainXml({ name: "web1", uuid }) });
    expect(parsed).toMatchObject({ event, cause, guest: { id: uuid, name: "web1" } });
  });

  it("knows no other call", () => {
    expect(HOOK_CALLS).toHaveLength(6);
  });

  it.each(["-x", "--all", "7", "; destroy d1", `q'"$(x)\``, " lead", "trail ", "a b  c", "ünï", uuid, "<&>"])(
    "takes a guest that is called %j",
    (name) => {
      const argv = [name, "prepare", "begin", "-"];
      expect(parseEvent({ event: "pre-start", argv, stdin: domainXml({ name }) }).guest.name).toBe(name);
    },
  );

  it.each([
    {
      title: "an operation that is not handled",
      event: "pre-start",
      argv: ["web1", "start", "begin", "-"],
    },
    { title: "an arrival as a start", event: "pre-start", argv: ["web1", "started", "begin", "-"] },
    { title: "another event's operation", event: "post-stop", argv: ["web1", "prepare", "begin", "-"] },
    { title: "the other end of an operation", event: "pre-start", argv: ["web1", "prepare", "end", "-"] },
    {
      title: "the configuration of another guest",
      event: "pre-start",
      argv: ["web2", "prepare", "begin", "-"],
    },
    { title: "too few arguments", event: "pre-start", argv: ["web1", "prepare"] },
    { title: "no arguments", event: "pre-start", argv: [] },
  ] as const)("refuses $title", ({ event, argv }) => {
    const parse = () => parseEvent({ event, argv, stdin: domainXml({ name: "web1" }) });
    expect(parse).toThrow(expect.objectContaining({ code: "EVENT_INVALID" }));
  });

  it.each(["", "not XML", "<domain/>", "<network/>"])("refuses the configuration %j", (stdin) => {
    const parse = () => parseEvent({ event: "pre-start", argv: ["web1", "prepare", "begin", "-"], stdin });
    expect(parse).toThrow(expect.objectContaining({ code: "GUEST_CONFIG_INVALID" }));
  });
});

describe("parseEvent of a probe", () => {
  const name = "luksmith-check-1";
  const guestXml = domainXml({ name: "web1", uuid, devices: DISK });
  const parse = (stdin: string, argv: readonly string[] = [name, "migrate", "begin", "-"]) =>
    parseEvent({ event: "pre-migrate", argv, stdin });

  it("asks for the guest that it carries", () => {
    const probe = probeDomainXml({ name, uuid: OTHER, guestXml });
    const { cause, guest } = parse(probe);
    expect({ cause, ...guest }).toMatchObject({ cause: "check", id: uuid, name: "web1" });
    expect(guest.configuration).toBe(guestXml);
    expect(guest.disks.mapping).toHaveProperty("vda");
  });

  const carrier = `<l:guest xmlns:l='${PROBE_NAMESPACE}'>${escapeXml(guestXml)}</l:guest>`;

  it.each([
    ["with a disk", { name, metadata: carrier, devices: DISK }],
    ["with two of our elements", { name, metadata: carrier + carrier }],
    ["with another element of ours", { name, metadata: carrier.replaceAll("l:guest", "l:other") }],
    ["with an element that only looks like ours", { name, metadata: carrier.replace(":1'", ":11'") }],
    ["with another name", { name: "web1-luksmith-check-1", metadata: carrier }],
  ])("is none for a guest %s", (_, domain) => {
    const event = parse(domainXml({ ...domain, uuid: OTHER }), [domain.name, "migrate", "begin", "-"]);
    expect(event).toMatchObject({ cause: "migrate", guest: { id: OTHER, name: domain.name } });
  });

  it("is one only for a migration", () => {
    const probe = probeDomainXml({ name, uuid: OTHER, guestXml });
    expect(parse(probe, [name, "started", "begin", "-"])).toMatchObject({
      cause: "arrival",
      guest: { id: OTHER },
    });
  });

  it("that carries no guest is refused", () => {
    const stdin = domainXml({ name, metadata: `<guest xmlns='${PROBE_NAMESPACE}'>no XML</guest>` });
    expect(() => parse(stdin)).toThrow(expect.objectContaining({ code: "GUEST_CONFIG_INVALID" }));
  });
});
