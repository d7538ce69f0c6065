import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { FaultLab } from "../fault-lab.js";
import { makeBase, makeOverlay } from "./overlays.js";
import { qemuIo } from "../qemu.js";
import { filesIn, sha256 } from "../workshop.js";

describe("createEncrypted on a qcow2 overlay, killed", () => {
  /** Killed just before the n-th of these calls on the volume: what it did before is what it leaves behind. */
  it.each(["pwrite64", "fsync", "rename", "unlink", "openat"])(
    "before any %s, leaves the old overlay or the encrypted one, and the base as it was",
    async (call) => {
      let kills = 0;
      for (let nth = 1; ; nth++) {
        using lab = new FaultLab("qcow2");
        const { backend, volume, request } = lab;
        const base = join(lab.directory, "base.img");
        makeOverlay(volume, makeBase(base).path);
        const before = { base: sha256(base), overlay: sha256(volume.path) };
        const ending = await lab.formatElsewhere(`${call}:signal=KILL:when=${nth}`);
        const { kind } = await backend.probe(volume, "read");
        expect(kind, `${call} ${nth}`).toBe(sha256(volume.path) === before.overlay ? "empty" : "luks");

        await backend.createEncrypted(request);
        const commands = ["read -P 0x41 0 8M", "write -P 3 0 64k", "read -P 3 0 64k", "read -P 0x41 64k 1M"];
        qemuIo(backend.qemuNode(volume, "key"), commands, request.passphrase);
        expect(sha256(base)).toBe(before.base);
        expect(filesIn(lab.directory)).toEqual(["base.img", "disk.img"]);
        if (ending !== "killed") {
          expect(ending).toBe("done");
          break;
        }
        kills++;
      }
      expect(kills).toBeGreaterThan(0);
    },
  );
});
