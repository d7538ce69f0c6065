import { describe, expect, it } from "vitest";
import { FaultLab } from "./fault-lab.js";
import { filesIn, qemuIo } from "./workshop.js";

/** Killed just before the n-th of these calls on the volume: what it did before is what it leaves behind. */
const CALLS = {
  raw: ["pwrite64", "fsync"],
  qcow2: ["pwrite64", "fsync", "rename", "unlink", "openat"],
} as const;

describe.each(["raw", "qcow2"] as const)("createEncrypted on %s, killed", (format) => {
  it.each(CALLS[format])("before any %s, leaves a volume that the next call finishes", async (call) => {
    let kills = 0;
    for (let nth = 1; ; nth++) {
      using lab = new FaultLab(format);
      const { backend, volume, request } = lab;
      const ending = await lab.formatElsewhere(`${call}:signal=KILL:when=${nth}`);
      const { kind } = await backend.probe(volume, "read");
      expect(["empty", "luks"], `${call} ${nth}`).toContain(kind);

      const header = await backend.createEncrypted(request);
      expect(await backend.probe(volume, "header")).toEqual({ kind: "luks", header });
      qemuIo(backend.qemuNode(volume, "key"), ["write -P 3 0 64k", "read -P 3 0 64k"], request.passphrase);
      expect(filesIn(lab.directory)).toEqual(["disk.img"]);
      if (ending !== "killed") {
        expect(ending).toBe("done");
        break;
      }
      kills++;
    }
    expect(kills).toBeGreaterThan(0);
  });
});

describe("createEncrypted on raw, killed while it takes back what it wrote", () => {
  /** The calls of its taking back: after the header and the key material, of which the fsync fails. */
  it.each([3, 4, 40, 65, 66])(
    "before its write %i, leaves a volume that the next call finishes",
    async (nth) => {
      using lab = new FaultLab("raw");
      const { backend, volume, request } = lab;
      const ending = await lab.formatElsewhere("fsync:error=EIO:when=3", `pwrite64:signal=KILL:when=${nth}`);
      expect(ending).toBe("killed");
      await backend.createEncrypted(request);
      qemuIo(backend.qemuNode(volume, "key"), ["write -P 3 0 64k", "read -P 3 0 64k"], request.passphrase);
    },
  );
});
