import { describe, expect, it } from "vitest";
import { FaultLab } from "./fault-lab.js";
import { filesIn } from "./workshop.js";

/** Killed just before the n-th of these calls on the volume: what it did before is what it leaves behind. */
const CALLS = {
  raw: ["pwrite64", "fsync"],
  qcow2: ["pwrite64", "fsync", "rename", "unlink", "openat"],
} as const;

describe.each([
  ["raw", "luks"],
  ["raw", "luksv2"],
  ["qcow2", "luks"],
] as const)("createEncrypted on %s as %s, killed", (format, encryption) => {
  it.each(CALLS[format])("before any %s, leaves a volume that the next call finishes", async (call) => {
    let kills = 0;
    for (let nth = 1; ; nth++) {
      using lab = new FaultLab(format, encryption);
      const { backend, volume, request } = lab;
      const ending = await lab.formatElsewhere(`${call}:signal=KILL:when=${nth}`);
      const left = await backend.probe(volume, "read");
      // a LUKS2 header can be read only once all of it is written
      expect(["empty", encryption === "luks" ? "luks" : "bad-luks", "luks"], `${call} ${nth}`).toContain(
        left.kind,
      );
      if (left.kind === "bad-luks") expect(left.claimedUuid).toBe(request.uuid);

      const header = await backend.createEncrypted(request);
      expect(await backend.probe(volume, "header")).toEqual({ kind: "luks", header });
      lab.expectOpens();
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
  /** The calls of its taking back: after all pieces, of which the last one's fsync fails. */
  it.each([
    ["luks", 3, 3],
    ["luks", 3, 4],
    ["luks", 3, 40],
    ["luks", 3, 65],
    ["luks", 3, 66],
    ["luksv2", 4, 4],
    ["luksv2", 4, 5],
    ["luksv2", 4, 6],
    ["luksv2", 4, 7],
    ["luksv2", 4, 40],
    ["luksv2", 4, 69],
    ["luksv2", 4, 70],
  ] as const)(
    "%s, after fsync %i: before its write %i, leaves what the next call finishes",
    async (...which) => {
      const [encryption, fsync, nth] = which;
      using lab = new FaultLab("raw", encryption);
      const ending = await lab.formatElsewhere(
        `fsync:error=EIO:when=${fsync}`,
        `pwrite64:signal=KILL:when=${nth}`,
      );
      expect(ending).toBe("killed");
      await lab.backend.createEncrypted(lab.request);
      lab.expectOpens();
    },
  );
});
