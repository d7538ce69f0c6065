import { execa } from "execa";
import { describe, expect, it } from "vitest";
import { fileURLToPath } from "node:url";
import { isLeftBehind, newProbeName } from "../../../src/host/libvirt/probe-name.js";

const MODULE = fileURLToPath(new URL("../../../src/host/libvirt/probe-name.ts", import.meta.url));

describe("the name of a probe", () => {
  it("is another one each time, and fit for virsh and for a file", () => {
    const [one, other] = [newProbeName(), newProbeName()];
    expect(one).not.toBe(other);
    expect(one).toMatch(/^luksmith-check-[0-9a-f-]+$/);
  });

  it("tells whether the process lives that made it", async () => {
    const program = `import { newProbeName } from ${JSON.stringify(MODULE)}; console.log(newProbeName());`;
    const { stdout } = await execa("node", ["--import", "tsx", "--input-type", "module", "--eval", program]);
    expect(isLeftBehind(newProbeName())).toBe(false);
    expect(isLeftBehind(stdout)).toBe(true);
  });

  it("tells a process from a later one of the same number", () => {
    const [, , machine, pid, start, random] = newProbeName().split("-");
    expect(isLeftBehind(`luksmith-check-${machine}-${pid}-${Number(start) - 1}-${random}`)).toBe(true);
  });

  it("leaves those of other machines, and other domains, alone", () => {
    const [, , machine, , start, random] = newProbeName().split("-");
    const other = machine === "0123456789ab" ? "ba9876543210" : "0123456789ab";
    expect(isLeftBehind(`luksmith-check-${other}-4194305-${start}-${random}`)).toBe(false);
    expect(isLeftBehind(`luksmith-check-${machine}-4194305-${start}-${random}x`)).toBe(false);
    expect(isLeftBehind("luksmith-check-1")).toBe(false);
    expect(isLeftBehind("web1")).toBe(false);
  });
});
