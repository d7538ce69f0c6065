import { execFileSync } from "node:child_process";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { FaultLab } from "./fault-lab.js";
import { codeOf, filesIn, MIB, sha256, Workshop } from "./workshop.js";

describe.each(["raw", "qcow2"] as const)("createEncrypted on %s", (format) => {
  let lab: FaultLab;

  beforeEach(() => {
    lab = new FaultLab(format);
  });
  afterEach(() => lab[Symbol.dispose]());

  it.each(["EIO", "ENOSPC", "EDQUOT"])("takes back what it wrote when a write fails with %s", async (errno) => {
    const before = sha256(lab.volume.path);
    for (let nth = 1; ; nth++) {
      const ending = await lab.formatElsewhere(`pwrite64:error=${errno}:when=${nth}`);
      if (ending === "done") break;
      expect(ending).toBe("VOLUME_WRITE_FAILED");
      expect(sha256(lab.volume.path)).toBe(before);
      expect(filesIn(lab.directory)).toEqual(["disk.img"]);
      if (nth === 3) break;
    }
  });
  ...
});
