import { readFileSync } from "node:fs";
import { expect } from "vitest";
import { groupOf } from "./groups.js";

// what these tests do to devices, they must not do to those of a host
if (!readFileSync("/proc/cpuinfo", "utf8").includes("User Mode Linux")) {
  const group = groupOf(expect.getState().testPath ?? "");
  throw new Error(`this test needs the kernel that it gets by \`npm run lab -- ${group}\``);
}
