import { describe, expect, it } from "vitest";
import { luksmith } from "./luksmith.js";

describe("luksmith cache", () => {
  it.each([["list"], ["refresh"], ["clear"]])("%s is for root", (command) => {
    const { status, stderr } = luksmith(["cache", command], { as: "nobody" });
    expect(status).toBe(6);
    expect(stderr).toContain("luksmith must run as root");
  });

  it("clear takes UUIDs and nothing else", () => {
    const { status, stderr } = luksmith(["cache", "clear", "web1"]);
    expect(status).toBe(2);
    expect(stderr).toContain("UUID");
  });
});
