import { chmodSync, chownSync, mkdirSync, readFileSync, renameSync, statSync, symlinkSync } from "node:fs";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { newKeyUuid } from "../../src/keystore/key-uuid.js";
import { Secret } from "../../src/secret/secret.js";
import type { FormatRequest, StorageBackend } from "../../src/storage/storage-backend.js";
import type { Volume } from "../../src/storage/volume.js";
import type { RecordingCommandRunner } from "../fake/recording-command-runner.js";
import {
  codeOf,
  filesIn,
  guestSizeByQemu,
  makeFifo,
  MIB,
  plainNode,
  qemuIo,
  sha256,
  SPEC,
  whileOpen,
} from "../storage/workshop.js";

export type FileVolume = Extract<Volume, { kind: "file" }>;

/** A place for the volumes of one test. */
export interface StorageFixture extends Disposable {
  readonly backend: StorageBackend;
  readonly runner: RecordingCommandRunner;
  /** Another instance on the same volumes, as another process has it. */
  another(): StorageBackend;
  /** A volume that holds nothing, and whose guest would see about `size` bytes. */
  makeEmpty(name: string, size?: number): FileVolume;
  /**
   * Bytes that are not zero, as a guest writes them at `offset` of a volume that is not encrypted, by a QEMU that heeds
   * locks or by what does not.
   */
  writeData(volume: FileVolume, offset: number, locking?: "on" | "off"): void;
}

const SIZE = 8 * MIB;
const HOSTILE_NAMES = [
  `a,b=c:d -e 'f".img`,
  "-rf.img",
  "$(id)`id`;&|%s.img",
  "json:{}",
  "ключ 🔑.img",
  "line\nbreak.img",
  "back\\slash.img",
  "n".repeat(255),
];

/** What every storage backend does, whatever its volumes are. */
export function storageBackendContract(name: string, make: () => StorageFixture): void {
  describe(`${name}: the contract of storage backends`, () => {
    let fixture: StorageFixture;
    let backend: StorageBackend;
    let runner: RecordingCommandRunner;
    let volume: FileVolume;
    let directory: string;
    let request: FormatRequest;

    beforeEach(() => {
      fixture = make();
      ({ backend, runner } = fixture);
      volume = fixture.makeEmpty("disk.img", SIZE);
      directory = dirname(volume.path);
      request = { volume, uuid: newKeyUuid(), spec: SPEC, passphrase: Secret.randomPassphrase() };
    });
    afterEach(() => {
      request.passphrase.dispose();
      fixture[Symbol.dispose]();
    });

    /** Asserts that a call is refused and leaves every file as it was. */
    async function expectRefusal(code: string, refused: FormatRequest = request): Promise<void> {
      const before = { files: filesIn(directory), hash: sha256(volume.path) };
      expect(await codeOf(backend.createEncrypted(refused))).toBe(code);
      expect({ files: filesIn(directory), hash: sha256(volume.path) }).toEqual(before);
    }

    /** Asserts with QEMU alone that the volume is encrypted under `request`. */
    function expectEncrypted(): void {
      const node = backend.qemuNode(request.volume, "key");
      qemuIo(node, ["write -P 0x77 1M 64k", "read -P 0x77 1M 64k"], request.passphrase);
      expect(readFileSync(volume.path).includes(Buffer.alloc(32, 0x77))).toBe(false);
    }

    describe("probe", () => {
      it("calls a new volume empty by its allocation map, and never by its header alone", async () => {
        expect(await backend.probe(volume, "header")).toEqual({ kind: "allocated" });
        expect(await backend.probe(volume, "allocation-map")).toEqual({ kind: "empty" });
        expect(await backend.probe(volume, "read")).toEqual({ kind: "empty" });
      });

      it("starts no process for the header", async () => {
        await backend.createEncrypted(request);
        runner.commands.length = 0;
        expect(await backend.probe(volume, "header")).toMatchObject({ kind: "luks" });
        expect(runner.lines).toEqual([]);
      });

      it.each(["header", "allocation-map", "read"] as const)("finds the LUKS header (%s)", async (depth) => {
        const header = await backend.createEncrypted(request);
        expect(await backend.probe(volume, depth)).toEqual({ kind: "luks", header });
      });

      it.each([0, SIZE / 2, SIZE - 512])("finds data that a guest wrote at byte %i", async (offset) => {
        fixture.writeData(volume, offset);
        const { kind } = await backend.probe(volume, "allocation-map");
        expect(kind === "allocated" || kind === "data").toBe(true);
        expect(await backend.probe(volume, "read")).toMatchObject({ kind: "data" });
      });

      it("does not take zeros that a guest wrote for data", async () => {
        qemuIo(plainNode(volume), ["write -P 0 1M 1M"]);
        expect(await backend.probe(volume, "allocation-map")).toEqual({ kind: "allocated" });
        expect(await backend.probe(volume, "read")).toEqual({ kind: "empty" });
      });

      it("calls a volume absent that is not there", async () => {
        symlinkSync(join(directory, "nowhere"), join(directory, "dangling"));
        for (const path of ["missing", "dangling", "disk.img/inside-a-file"]) {
          const absent = { ...volume, path: join(directory, path) };
          expect(await backend.probe(absent, "read"), path).toEqual({ kind: "absent" });
        }
      });

      it("calls unreadable what is no regular file, and does not hang on a FIFO", async () => {
        mkdirSync(join(directory, "directory"));
        makeFifo(join(directory, "fifo"));
        for (const path of [join(directory, "directory"), join(directory, "fifo"), "/dev/null"]) {
          expect(await backend.probe({ ...volume, path }, "read"), path).toMatchObject({
            kind: "unreadable",
          });
        }
      });

      it("calls unreadable what gives a read error", async () => {
        // its first page is nobody's, so reading it is EIO
        const probe = await backend.probe({ ...volume, path: "/proc/self/mem" }, "read");
        expect(probe).toMatchObject({ kind: "unreadable" });
      });

      it("looks at a volume that a guest has open", async () => {
        const probe = await whileOpen(plainNode(volume), () => backend.probe(volume, "read"));
        expect(probe).toEqual({ kind: "empty" });
      });
    });

    describe("createEncrypted", () => {
      it("makes a LUKS1 header under the key's UUID that QEMU opens with the passphrase", async () => {
        const header = await backend.createEncrypted(request);
        expect(header).toMatchObject({
          version: 1,
          uuid: request.uuid,
          cipher: "aes-xts-plain64",
          keySize: 512,
        });
        expectEncrypted();
        expect(filesIn(directory)).toEqual(["disk.img"]);
      });

      it("shows the guest as many bytes as guestSize says", async () => {
        const header = await backend.createEncrypted(request);
        const shown = guestSizeByQemu(backend.qemuNode(volume, "key"), request.passphrase);
        expect(await backend.guestSize(volume, header)).toBe(shown);
      });

      it("lets no other passphrase in", async () => {
        await backend.createEncrypted(request);
        using wrong = Secret.randomPassphrase();
        expect(() => qemuIo(backend.qemuNode(volume, "key"), ["read 0 512"], wrong)).toThrow(
          /Invalid password/,
        );
      });

      it("encrypts with AES-CBC and ESSIV where it is asked to", async () => {
        const spec = { ...SPEC, cipher: "aes-cbc-essiv:sha256", keySize: 256 };
        expect(await backend.createEncrypted({ ...request, spec })).toMatchObject({ keySize: 256 });
        expectEncrypted();
      });

      it.each(HOSTILE_NAMES)("is not confused by the name %j", async (name) => {
        const hostile = fixture.makeEmpty(name, SIZE);
        await backend.createEncrypted({ ...request, volume: hostile });
        expect(await backend.probe(hostile, "read")).toMatchObject({ kind: "luks" });
        qemuIo(backend.qemuNode(hostile, "key"), ["write 0 4k"], request.passphrase);
        expect(filesIn(directory)).toEqual(["disk.img", name].sort());
      });

      it("follows a symbolic link and leaves the link there", async () => {
        const link = join(directory, "link.img");
        symlinkSync("disk.img", link);
        await backend.createEncrypted({ ...request, volume: { ...volume, path: link } });
        expect(filesIn(directory)).toEqual(["disk.img", "link.img"]);
        expectEncrypted();
      });

      it("keeps owner and mode of the volume", async () => {
        chownSync(volume.path, 64055, 108);
        chmodSync(volume.path, 0o640);
        await backend.createEncrypted(request);
        const { uid, gid, mode } = statSync(volume.path);
        expect({ uid, gid, mode: mode & 0o7777 }).toEqual({ uid: 64055, gid: 108, mode: 0o640 });
      });

      it("formats a volume whose allocated blocks are all zero", async () => {
        qemuIo(plainNode(volume), ["write -P 0 0 1M", "write -P 0 4M 1M"]);
        await backend.createEncrypted(request);
        expectEncrypted();
      });
    });

    describe("createEncrypted keeps QEMU", () => {
      /** The commands that run between the look whether the volume is in use and the end of the writing. */
      it.each(["luksFormat", "map"])("from opening the volume before %s", async (step) => {
        const refusals: string[] = [];
        runner.before = ({ args }) => {
          if (args[0] !== step) return;
          const attempt = () => fixture.writeData(volume, 0);
          expect(attempt).toThrow(/Failed to get "write" lock/);
          refusals.push(step);
        };
        await backend.createEncrypted(request);
        expect(refusals.length).toBeGreaterThan(0);
        expectEncrypted();
      });

      it("from nothing any more when it is done, or refused", async () => {
        await backend.createEncrypted(request);
        const other = fixture.makeEmpty("other.img", SIZE);
        fixture.writeData(other, SIZE - 512);
        expect(await codeOf(backend.createEncrypted({ ...request, volume: other }))).toBe("VOLUME_NOT_EMPTY");
        expect(runner.held.map(({ isRunning }) => isRunning)).toEqual([false, false]);
        fixture.writeData(other, 0);
      });
    });

    describe("createEncrypted once more", () => {
      it("succeeds and changes nothing when it was done before, even under a running guest", async () => {
        const header = await backend.createEncrypted(request);
        qemuIo(backend.qemuNode(volume, "key"), ["write -P 0x77 1M 64k"], request.passphrase);
        const before = sha256(volume.path);
        const again = () => backend.createEncrypted(request);
        const node = backend.qemuNode(volume, "key");
        expect(await whileOpen(node, again, request.passphrase)).toEqual(header);
        expect(sha256(volume.path)).toBe(before);
      });

      it("formats once when two callers come at the same time", async () => {
        const both = [backend, fixture.another()].map((b) => b.createEncrypted(request));
        const [one, two] = await Promise.all(both);
        expect(one).toEqual(two);
        expectEncrypted();
      });

      it("lets only one of two keys have the volume", async () => {
        using passphrase = Secret.randomPassphrase();
        const rival = { ...request, uuid: newKeyUuid(), passphrase };
        const [mine, theirs] = await Promise.allSettled([
          backend.createEncrypted(request),
          fixture.another().createEncrypted(rival),
        ]);
        expect([mine.status, theirs.status].sort()).toEqual(["fulfilled", "rejected"]);
        const [winner, loser] = mine.status === "fulfilled" ? [request, rival] : [rival, request];
        expect(await codeOf(backend.createEncrypted(loser))).toBe("LUKS_UUID_MISMATCH");
        await backend.testPassphrase(volume, winner.passphrase);
      });
    });

    describe("createEncrypted refuses", () => {
      it.each([0, SIZE / 2, SIZE - 512])("a volume with data at byte %i", async (offset) => {
        fixture.writeData(volume, offset);
        await expectRefusal("VOLUME_NOT_EMPTY");
      });

      it("a volume under another key", async () => {
        await backend.createEncrypted(request);
        await expectRefusal("LUKS_UUID_MISMATCH", { ...request, uuid: newKeyUuid() });
      });

      it("a volume under this key whose passphrase is another, when data was written", async () => {
        await backend.createEncrypted(request);
        qemuIo(backend.qemuNode(volume, "key"), ["write 0 64k"], request.passphrase);
        using passphrase = Secret.randomPassphrase();
        await expectRefusal("PASSPHRASE_REJECTED", { ...request, passphrase });
      });

      it("a volume that a QEMU process has open for writing", async () => {
        await whileOpen(plainNode(volume), () => expectRefusal("VOLUME_BUSY"));
      });

      it("a volume that is not there", async () => {
        const absent = { ...volume, path: join(directory, "missing.img") };
        await expectRefusal("VOLUME_NOT_FOUND", { ...request, volume: absent });
      });

      it("a directory", async () => {
        await expectRefusal("VOLUME_UNREADABLE", { ...request, volume: { ...volume, path: directory } });
      });

      it("a volume of another kind", async () => {
        await expectRefusal("VOLUME_UNSUPPORTED", { ...request, volume: { kind: "none" } });
      });

      it("a volume that a QEMU process writes to and shares with other writers", async () => {
        const shared = { driver: "raw", file: { driver: "file", filename: volume.path } };
        await whileOpen(shared, () => expectRefusal("VOLUME_BUSY"), undefined, "share-rw=on");
      });

      it("a volume that gets data while the header is made, from what heeds no lock", async () => {
        runner.before = ({ args }) => {
          if (args[0] === "luksFormat") fixture.writeData(volume, SIZE - 512, "off");
        };
        expect(await codeOf(backend.createEncrypted(request))).toBe("VOLUME_NOT_EMPTY");
        expect(await backend.probe(volume, "read")).toMatchObject({ kind: "data" });
        expect(filesIn(directory)).toEqual(["disk.img"]);
      });

      it("a volume whose lock is lost while it is proven empty", async () => {
        const before = sha256(volume.path);
        runner.before = async ({ args }) => {
          if (args[0] === "map") for (const holder of runner.held) await holder[Symbol.asyncDispose]();
        };
        expect(await codeOf(backend.createEncrypted(request))).toBe("VOLUME_WRITE_FAILED");
        expect(sha256(volume.path)).toBe(before);
        expect(filesIn(directory)).toEqual(["disk.img"]);
      });

      it("a volume that another one replaces while the header is made, and touches neither", async () => {
        const moved = join(directory, "moved.img");
        const before = sha256(volume.path);
        runner.before = ({ args }) => {
          if (args[0] !== "luksFormat") return;
          renameSync(volume.path, moved);
          fixture.makeEmpty("disk.img", SIZE);
        };
        expect(await codeOf(backend.createEncrypted(request))).toBe("VOLUME_NOT_FOUND");
        expect(sha256(moved)).toBe(before);
        expect(sha256(volume.path)).toBe(before);
        expect(filesIn(directory)).toEqual(["disk.img", "moved.img"]);
      });

      it("a volume that vanishes while the header is made", async () => {
        const moved = join(directory, "moved.img");
        const before = sha256(volume.path);
        runner.before = ({ args }) => {
          if (args[0] === "luksFormat") renameSync(volume.path, moved);
        };
        expect(await codeOf(backend.createEncrypted(request))).toBe("VOLUME_NOT_FOUND");
        expect(sha256(moved)).toBe(before);
        expect(filesIn(directory)).toEqual(["moved.img"]);
      });
    });

    describe("testPassphrase", () => {
      it("accepts the passphrase and rejects any other", async () => {
        await backend.createEncrypted(request);
        await backend.testPassphrase(volume, request.passphrase);
        using wrong = Secret.randomPassphrase();
        expect(await codeOf(backend.testPassphrase(volume, wrong))).toBe("PASSPHRASE_REJECTED");
      });

      it("says so when there is no LUKS header, or no volume", async () => {
        expect(await codeOf(backend.testPassphrase(volume, request.passphrase))).toBe("VOLUME_NOT_FORMATTED");
        const absent = { ...volume, path: join(directory, "missing.img") };
        expect(await codeOf(backend.testPassphrase(absent, request.passphrase))).toBe("VOLUME_NOT_FOUND");
      });
    });

    it("gives no process the passphrase in its arguments or input", async () => {
      await backend.createEncrypted(request);
      await backend.testPassphrase(volume, request.passphrase);
      const text = request.passphrase.use((bytes) => bytes.toString());
      expect(runner.commands.length).toBeGreaterThan(3);
      for (const { args, input } of runner.commands) {
        expect(args.join(" ")).not.toContain(text);
        expect(input).toBeUndefined();
      }
    });
  });
}
