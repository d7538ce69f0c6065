import { execFileSync } from "node:child_process";
import { rmSync, statfsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { FaultLab } from "./fault-lab.js";
import { codeOf, filesIn, makeImage, MIB, sha256 } from "./workshop.js";

describe.each([
  ["raw", "luks"],
  ["raw", "luksv2"],
  ["qcow2", "luks"],
] as const)("createEncrypted on %s as %s", (format, encryption) => {
  let lab: FaultLab;

  beforeEach(() => {
    lab = new FaultLab(format, encryption);
  });
  afterEach(() => lab[Symbol.dispose]());

  async function expectMended(): Promise<void> {
    await lab.backend.createEncrypted(lab.request);
    lab.expectOpens();
    expect(filesIn(lab.directory)).toEqual(["disk.img"]);
  }

  it.each([
    ["pwrite64", "ENOSPC", "VOLUME_WRITE_FAILED"],
    ["fsync", "EIO", "VOLUME_WRITE_FAILED"],
    ["pread64", "EIO", "VOLUME_UNREADABLE"],
  ])("leaves the volume as it was when any %s fails with %s", async (call, errno, code) => {
    const before = sha256(lab.volume.path);
    let failures = 0;
    for (let nth = 1; ; nth++) {
      const ending = await lab.formatElsewhere(`${call}:error=${errno}:when=${nth}`);
      if (ending === "done") break;
      expect(ending, `${call} ${nth}`).toBe(code);
      if (format === "qcow2" && call === "fsync" && sha256(lab.volume.path) !== before) {
        // the directory's: the new image is in its place already
        await lab.backend.testPassphrase(lab.volume, lab.request.passphrase);
        return;
      }
      expect(sha256(lab.volume.path), `${call} ${nth}`).toBe(before);
      expect(filesIn(lab.directory)).toEqual(["disk.img"]);
      failures++;
    }
    expect(failures).toBeGreaterThan(0);
  });

  it.each([1, 2])(
    "mends a volume that could not be taken back, since all writes from %i on failed",
    async (nth) => {
      expect(await lab.formatElsewhere(`pwrite64:error=EIO:when=${nth}+`)).toBe("VOLUME_WRITE_FAILED");
      await expectMended();
    },
  );

  it("formats once when two processes come at the same time", async () => {
    expect(await Promise.all([lab.formatElsewhere(), lab.formatElsewhere()])).toEqual(["done", "done"]);
    await expectMended();
    expect(lab.runner.count("cryptsetup luksFormat")).toBe(0);
  });

  describe("on a file system of its own", () => {
    const remount = (options: string) => execFileSync("mount", ["-o", `remount,${options}`, lab.directory]);

    beforeEach(() => {
      execFileSync("mount", ["-t", "tmpfs", "-o", "size=16M", "luksmith-test", lab.directory]);
      makeImage(lab.volume, 8 * MIB);
    });
    afterEach(() => {
      execFileSync("umount", [lab.directory]);
    });

    it.each([0, 4096, 65_536, 200_000])(
      "leaves the volume as it was when only %i bytes are free",
      async (room) => {
        const before = sha256(lab.volume.path);
        const filler = join(lab.directory, "filler");
        const { bavail, bsize } = statfsSync(lab.directory);
        writeFileSync(filler, Buffer.alloc(bavail * bsize - room));
        expect(await codeOf(lab.backend.createEncrypted(lab.request))).toBe("VOLUME_WRITE_FAILED");
        expect(sha256(lab.volume.path)).toBe(before);
        expect(filesIn(lab.directory)).toEqual(["disk.img", "filler"]);
        expect(await lab.backend.probe(lab.volume, "read")).toEqual({ kind: "empty" });
        rmSync(filler);
        await expectMended();
      },
    );

    it("says so when it is read-only", async () => {
      const before = sha256(lab.volume.path);
      remount("ro");
      expect(await codeOf(lab.backend.createEncrypted(lab.request))).toBe("VOLUME_WRITE_FAILED");
      expect(sha256(lab.volume.path)).toBe(before);
      remount("rw");
      await expectMended();
    });
  });
});
