import { describe, expect, it } from "vitest";
import { HOOK_CALLS, parseEvent } from "../../../src/host/libvirt/events.js";
import { domainXml } from "../../lab/test-domain.js";

const uuid = "5afe9aab-0794-45bc-8958-b5600a7a36a0";

describe("parseEvent", () => {
  it.each([
    ["prepare", "begin", "pre-start", "start"],
    ["restore", "begin", "pre-start", "restore"],
    ["reconnect", "begin", "pre-start", "reconnect"],
    ["migrate", "begin", "pre-migrate", "migrate"],
    ["release", "end", "post-stop", "stop"],
  ] as const)("takes %s %s as %s because of %s", (operation, subOperation, event, cause) => {
    const argv = ["web1", operation, subOperation, "-"];
    const parsed = parseEvent({ event, argv, stdin: domainXml({ name: "web1", uuid }) });
    expect(parsed).toMatchObject({ event, cause, guest: { id: uuid, name: "web1" } });
  });

  it("knows no other call", () => {
    expect(HOOK_CALLS).toHaveLength(5);
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
      argv: ["web1", "started", "begin", "-"],
    },
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
