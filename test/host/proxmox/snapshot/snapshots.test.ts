import { describe, expect, it } from "vitest";
import { LuksmithError } from "../../../../src/error/luksmith-error.js";
import { ExecaCommandRunner } from "../../../../src/exec/command-runner.js";
import { baseOf } from "../../../../src/host/proxmox/base/index.js";
import { requireClones, requireSnapshots, snapshotsOf } from "../../../../src/host/proxmox/snapshot/index.js";
import { VolumeLocks } from "../../../../src/storage/volume-lock.js";

const runner = new ExecaCommandRunner();
const ports = { runner, locks: new VolumeLocks(runner) };

function refusal(work: () => unknown): LuksmithError {
  try {
    work();
  } catch (thrown) {
    if (thrown instanceof LuksmithError) return thrown;
    throw thrown;
  }
  throw new Error("it was not refused");
}

describe("snapshots and linked clones", () => {
  it.each([
    { type: "directory", path: "/srv/luks" },
    { type: "lvm", vg: "vg" },
  ] as const)("are refused on a base of type $type, which says what can", (base) => {
    const there = baseOf({ base }, ports);
    expect(snapshotsOf(there, ports)).toBeUndefined();
    for (const ask of [requireSnapshots, requireClones]) {
      const { code, why } = refusal(() => ask(there, ports));
      expect(code).toBe("VOLUME_UNSUPPORTED");
      expect(why).toMatch(/lvm-thin, zfs and rbd/);
    }
    expect(refusal(() => requireClones(there, ports)).hint).toMatch(/full clone/);
  });

  it.each([
    { type: "lvm-thin", vg: "vg", thinpool: "pool" },
    { type: "rbd", pool: "rbd" },
    { type: "zfs", dataset: "tank/vms" },
  ] as const)("are there on a base of type $type", (base) => {
    expect(snapshotsOf(baseOf({ base }, ports), ports)).toBeDefined();
  });
});
