import { chmodSync, chownSync, mkdirSync, renameSync, statSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { newKeyUuid } from "../../src/keystore/key-uuid.js";
import { Secret } from "../../src/secret/secret.js";
import type { FormatRequest } from "../../src/storage/storage-backend.js";
import { qemuIo } from "../storage/qemu.js";
import {
  codeOf,
  filesIn,
  type FileVolume,
  type ImageFormat,
  makeFifo,
  MIB,
  sha256,
  SPEC,
  Workshop,
} from "../storage/workshop.js";

const SIZE = 8 * MIB;

/** What storage backends of image files do besides what all do: it is about paths, inodes and locks of files. */
export function imageFileContract(format: ImageFormat): void {
  describe(`${format}: the contract of image files`, () => {
    let workshop: Workshop;
    let volume: FileVolume;
    let request: FormatRequest;

    beforeEach(() => {
      workshop = new Workshop(format);
      volume = workshop.makeEmpty("disk.img", SIZE);
      request = { volume, uuid: newKeyUuid(), spec: SPEC, passphrase: Secret.randomPassphrase() };
    });
    afterEach(() => {
      request.passphrase.dispose();
      workshop[Symbol.dispose]();
    });

    const create = (changed: Partial<FormatRequest> = {}) =>
      workshop.backend.createEncrypted({ ...request, ...changed });
    const at = (name: string): FileVolume => ({ ...volume, path: join(workshop.directory, name) });
    const write = (target: FileVolume) =>
      qemuIo(workshop.backend.qemuNode(target, "key"), ["write 1M 64k"], request.passphrase);

    it("starts no process to find the LUKS header", async () => {
      await create();
      workshop.runner.commands.length = 0;
      expect(await workshop.backend.probe(volume, "header")).toMatchObject({ kind: "luks" });
      expect(workshop.runner.lines).toEqual([]);
    });

    it("calls allocated, not empty, what a guest wrote zeros to", async () => {
      qemuIo(workshop.plainNode(volume), ["write -P 0 1M 1M"]);
      expect(await workshop.backend.probe(volume, "allocation-map")).toEqual({ kind: "allocated" });
    });

    it("calls absent where a path leads to nothing", async () => {
      symlinkSync(join(workshop.directory, "nowhere"), join(workshop.directory, "dangling"));
      for (const name of ["missing", "dangling", "disk.img/inside-a-file"]) {
        expect(await workshop.backend.probe(at(name), "read"), name).toEqual({ kind: "absent" });
      }
    });

    it("calls unreadable what is no regular file, and does not hang on a FIFO", async () => {
      mkdirSync(at("directory").path);
      makeFifo(at("fifo").path);
      for (const target of [at("directory"), at("fifo"), { ...volume, path: "/dev/null" }]) {
        expect(await workshop.backend.probe(target, "read"), target.path).toMatchObject({
          kind: "unreadable",
        });
        expect(await codeOf(create({ volume: target }))).toBe("VOLUME_UNREADABLE");
      }
    });

    it("leaves no other file beside the image", async () => {
      await create();
      expect(filesIn(workshop.directory)).toEqual(["disk.img"]);
    });

    it("follows a symbolic link and leaves the link there", async () => {
      symlinkSync("disk.img", at("link.img").path);
      await create({ volume: at("link.img") });
      expect(filesIn(workshop.directory)).toEqual(["disk.img", "link.img"]);
      write(volume);
    });

    it("keeps owner and mode", async () => {
      chownSync(volume.path, 64055, 108);
      chmodSync(volume.path, 0o640);
      await create();
      const { uid, gid, mode } = statSync(volume.path);
      expect({ uid, gid, mode: mode & 0o7777 }).toEqual({ uid: 64055, gid: 108, mode: 0o640 });
    });

    /** The commands that run between the look whether the image is in use and the end of the writing. */
    it.each(["luksFormat", "map"])("keeps QEMU from opening it before %s", async (step) => {
      const refusals: string[] = [];
      runnerBefore(step, () => {
        expect(() => workshop.writeData(volume, 0)).toThrow(/Failed to get "write" lock/);
        refusals.push(step);
      });
      await create();
      expect(refusals.length).toBeGreaterThan(0);
      write(volume);
    });

    it("keeps QEMU from nothing any more when it is formatted, or refused", async () => {
      await create();
      const other = workshop.makeEmpty("other.img", SIZE);
      workshop.writeData(other, SIZE - 512);
      expect(await codeOf(create({ volume: other }))).toBe("VOLUME_NOT_EMPTY");
      expect(workshop.runner.held.map(({ isRunning }) => isRunning)).toEqual([false, false]);
      workshop.writeData(other, 0);
    });

    it("is refused when its lock is lost while it is proven empty", async () => {
      const before = sha256(volume.path);
      runnerBefore("map", async () => {
        for (const holder of workshop.runner.held) await holder[Symbol.asyncDispose]();
      });
      expect(await codeOf(create())).toBe("VOLUME_WRITE_FAILED");
      expect(sha256(volume.path)).toBe(before);
      expect(filesIn(workshop.directory)).toEqual(["disk.img"]);
    });

    it("is refused when another file takes its place, and neither is touched", async () => {
      const before = sha256(volume.path);
      runnerBefore("luksFormat", () => {
        renameSync(volume.path, at("moved.img").path);
        workshop.makeEmpty("disk.img", SIZE);
      });
      expect(await codeOf(create())).toBe("VOLUME_NOT_FOUND");
      expect(sha256(at("moved.img").path)).toBe(before);
      expect(sha256(volume.path)).toBe(before);
      expect(filesIn(workshop.directory)).toEqual(["disk.img", "moved.img"]);
    });

    it("is refused when it is moved away, and is not touched", async () => {
      const before = sha256(volume.path);
      runnerBefore("luksFormat", () => renameSync(volume.path, at("moved.img").path));
      expect(await codeOf(create())).toBe("VOLUME_NOT_FOUND");
      expect(sha256(at("moved.img").path)).toBe(before);
      expect(filesIn(workshop.directory)).toEqual(["moved.img"]);
    });

    function runnerBefore(step: string, work: () => void | Promise<void>): void {
      workshop.runner.before = async ({ args }) => {
        if (args[0] === step) await work();
      };
    }
  });
}
