import { describe, expect, it } from "vitest";
import { LuksmithError } from "../../../../src/error/luksmith-error.js";
import { parseRequest } from "../../../../src/host/proxmox/bridge/parse-request.js";

const STORAGE = { id: "enc", base: { type: "directory", path: "/srv/enc" } };
const SIZE = { version: 1, op: "size", storage: STORAGE, volume: "vm-100-disk-0" };

function refusal(request: unknown): LuksmithError {
  try {
    parseRequest(typeof request === "string" ? request : JSON.stringify(request));
  } catch (thrown) {
    if (thrown instanceof LuksmithError) return thrown;
  }
  throw new Error("it was understood");
}

describe("a request", () => {
  it("is understood as it was sent", () => {
    expect(parseRequest(JSON.stringify(SIZE))).toEqual(SIZE);
  });

  it.each([
    ["that is no JSON", "{", /not JSON/],
    ["of another version", { ...SIZE, version: 2 }, /version/],
    ["for what nobody knows", { ...SIZE, op: "shred" }, /op/],
    ["with more than is known", { ...SIZE, force: true }, /additional properties/],
    ["without a volume", { ...SIZE, volume: undefined }, /volume/],
    ["that leads out of the base", { ...SIZE, volume: "vm-100-../../etc/passwd" }, /volume/],
    ["with an option as a volume", { ...SIZE, volume: "--help" }, /volume/],
    ["with a line end in the volume", { ...SIZE, volume: "vm-100-disk-0\n" }, /volume/],
    [
      "on a relative path",
      { ...SIZE, storage: { id: "enc", base: { type: "directory", path: "x" } } },
      /path/,
    ],
    [
      "on a base of two types",
      { ...SIZE, storage: { id: "enc", base: { ...STORAGE.base, vg: "v" } } },
      /base/,
    ],
  ])("%s is refused, and the refusal says why", (_, request, why) => {
    const { code, why: reason } = refusal(request);
    expect(code).toBe("EVENT_INVALID");
    expect(reason).toMatch(why);
  });
});
