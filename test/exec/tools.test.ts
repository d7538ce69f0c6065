import type * as fs from "node:fs";
import { accessSync } from "node:fs";
import { beforeEach, expect, test, vi } from "vitest";
import { LuksmithError } from "../../src/error/luksmith-error.js";
import { findTool, toolPath } from "../../src/exec/tools.js";

vi.mock(import("node:fs"), async (original) => {
  const real = await original();
  return { ...real, accessSync: vi.fn(real.accessSync) };
});

beforeEach(() => {
  vi.mocked(accessSync).mockReset();
});

test("finds a tool at its absolute path", async () => {
  const { accessSync: real } = await vi.importActual<typeof fs>("node:fs");
  vi.mocked(accessSync).mockImplementation(real);

  expect(toolPath("qemu-img")).toMatch(/^\/(usr\/)?s?bin\/qemu-img$/);
  expect(findTool("cryptsetup")).toBe(toolPath("cryptsetup"));
});

test("does not look at PATH", () => {
  vi.mocked(accessSync).mockImplementation((path) => {
    if (!String(path).startsWith("/opt/")) throw new Error("ENOENT");
  });
  vi.stubEnv("PATH", "/opt/bin");

  expect(findTool("virsh")).toBeUndefined();
  vi.unstubAllEnvs();
});

test("a missing tool is TOOL_MISSING with the Debian package to install", () => {
  vi.mocked(accessSync).mockImplementation(() => {
    throw new Error("ENOENT");
  });
  let thrown: unknown;
  try {
    toolPath("cryptsetup");
  } catch (error) {
    thrown = error;
  }

  expect(thrown).toBeInstanceOf(LuksmithError);
  expect(thrown).toMatchObject({ code: "TOOL_MISSING", hint: "apt-get install cryptsetup-bin" });
});
