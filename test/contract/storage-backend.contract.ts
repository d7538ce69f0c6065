import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { EncryptionFormat } from "../../src/encryption/luks-spec.js";
import { newKeyUuid } from "../../src/keystore/key-uuid.js";
import { Secret } from "../../src/secret/secret.js";
import { canAllocate, type FormatRequest, type StorageBackend } from "../../src/storage/storage-backend.js";
import type { Volume } from "../../src/storage/volume.js";
import type { RecordingCommandRunner } from "../fake/recording-command-runner.js";
import { FormatProcess } from "../storage/format-elsewhere.js";
import { guestSizeByQemu, qemuIo } from "../storage/qemu.js";
import { whileOpen } from "../storage/running-guest.js";
import { codeOf, MIB, SPEC } from "../storage/workshop.js";
import { emptinessContract } from "./emptiness.contract.js";
import { headerChangeContract } from "./header-change.contract.js";
import { luksContainerContract } from "./luks-container.contract.js";
import type { StorageFixture } from "./storage-fixture.js";

const SIZE = 8 * MIB;
const SECTOR = 512;
const DATA = Buffer.alloc(32, 0x77);

export interface StorageAbilities {
  readonly allocates: "allocates" | "only-uses";
  /** All that the backend says it carries. */
  readonly formats: readonly EncryptionFormat[];
  /** Those that have their own contracts tried, where a backend of the same code shows the rest; all without it. */
  readonly tried?: readonly EncryptionFormat[];
}

/**
 * What every storage backend does, whatever its volumes are.
 * @param make its first volume may have any name and 8 MiB
 */
export function storageBackendContract(
  name: string,
  make: () => StorageFixture | Promise<StorageFixture>,
  { allocates, formats, tried = formats }: StorageAbilities,
): void {
  for (const format of tried) {
    if (format === "plain") emptinessContract(name, make);
    else {
      luksContainerContract(name, make, format);
      headerChangeContract(name, make, format);
    }
  }
  describe(`${name}: the contract of storage backends`, () => {
    let fixture: StorageFixture;
    let backend: StorageBackend;
    let runner: RecordingCommandRunner;
    let volume: Volume;
    let request: FormatRequest;

    beforeEach(async () => {
      fixture = await make();
      ({ backend, runner } = fixture);
      volume = await fixture.makeEmpty("disk", SIZE);
      request = { volume, uuid: newKeyUuid(), spec: SPEC, passphrase: Secret.randomPassphrase() };
    });
    afterEach(async () => {
      request.passphrase.dispose();
      await fixture[Symbol.asyncDispose]();
    });

    /** Asserts that a call is refused and leaves all of the storage as it was. */
    async function expectRefusal(code: string, refused: FormatRequest = request): Promise<void> {
      const before = await fixture.state();
      expect(await codeOf(backend.createEncrypted(refused))).toBe(code);
      expect(await fixture.state()).toEqual(before);
    }

    const asGuest = (...commands: string[]) =>
      qemuIo(backend.qemuNode(request.volume, "key"), commands, request.passphrase);

    /** Asserts with QEMU alone that the volume is encrypted under `request`. */
    async function expectEncrypted(): Promise<void> {
      asGuest("write -P 0x77 1M 64k", "read -P 0x77 1M 64k");
      expect((await fixture.bytes(request.volume)).includes(DATA)).toBe(false);
    }

    /** Does something in the moment before the header is made. */
    function whenHeaderIsMade(work: () => void | Promise<void>): void {
      runner.before = async ({ args }) => {
        if (args[0] === "luksFormat") await work();
      };
    }

    it("says which formats it carries, and refuses LUKS2 where that is none of them", async () => {
      expect(backend.formats).toEqual(formats);
      if (formats.includes("luksv2")) return;
      await expectRefusal("VOLUME_UNSUPPORTED", { ...request, spec: { ...SPEC, format: "luksv2" } });
    });

    describe("probe", () => {
      it("never calls a new volume empty by its header alone, and proves it by reading", async () => {
        const before = await fixture.state();
        expect(await backend.probe(volume, "header")).toEqual({ kind: "allocated" });
        expect(await backend.probe(volume, "allocation-map")).toEqual({ kind: fixture.unwritten });
        expect(await backend.probe(volume, "read")).toEqual({ kind: "empty" });
        expect(await fixture.state()).toEqual(before);
      });

      it("finds the LUKS header at every depth", async () => {
        const header = await backend.createEncrypted(request);
        const before = await fixture.state();
        for (const depth of ["header", "allocation-map", "read"] as const) {
          expect(await backend.probe(volume, depth)).toEqual({ kind: "luks", header });
        }
        expect(await fixture.state()).toEqual(before);
      });

      it.each([0, SIZE / 2, SIZE - SECTOR])("finds data that a guest wrote at byte %i", async (offset) => {
        await fixture.writeData(volume, offset, "off");
        const { kind } = await backend.probe(volume, "allocation-map");
        expect(["allocated", "data"]).toContain(kind);
        expect(await backend.probe(volume, "read")).toMatchObject({ kind: "data" });
      });

      it("does not take zeros that a guest wrote for data", async () => {
        qemuIo(fixture.plainNode(volume), ["write -P 0 1M 1M"]);
        expect(await backend.probe(volume, "read")).toEqual({ kind: "empty" });
      });

      it("calls a volume absent that is not there", async () => {
        expect(await backend.probe(fixture.absent(), "header")).toEqual({ kind: "absent" });
        expect(await backend.probe(fixture.absent(), "read")).toEqual({ kind: "absent" });
      });

      it("calls unreadable what gives a read error", async () => {
        const broken = await fixture.breakReading(volume);
        expect(await backend.probe(volume, "header")).toMatchObject({ kind: "unreadable" });
        expect(await backend.probe(volume, "read")).toMatchObject({ kind: "unreadable" });
        await broken[Symbol.asyncDispose]();
      });

      it("looks at a volume that a guest has open", async () => {
        const probe = await whileOpen(fixture.plainNode(volume), () => backend.probe(volume, "read"));
        expect(probe).toEqual({ kind: "empty" });
      });
    });

    describe("createEncrypted", () => {
      it("makes a LUKS1 header under the key's UUID that QEMU alone opens with the passphrase", async () => {
        const header = await backend.createEncrypted(request);
        expect(header).toMatchObject({
          version: 1,
          uuid: request.uuid,
          cipher: "aes-xts-plain64",
          keySize: 512,
        });
        await expectEncrypted();
        using wrong = Secret.randomPassphrase();
        expect(() => qemuIo(backend.qemuNode(volume, "key"), ["read 0 512"], wrong)).toThrow(
          /Invalid password|Operation not permitted/,
        );
      });

      it("shows the guest as many bytes as guestSize says", async () => {
        const header = await backend.createEncrypted(request);
        const shown = guestSizeByQemu(backend.qemuNode(volume, "key"), request.passphrase);
        expect(await backend.guestSize(volume, header)).toBe(shown);
      });

      it("encrypts with AES-CBC and ESSIV where it is asked to", async () => {
        const spec = { ...SPEC, cipher: "aes-cbc-essiv:sha256", keySize: 256 };
        expect(await backend.createEncrypted({ ...request, spec })).toMatchObject({ keySize: 256 });
        await expectEncrypted();
      });

      it("is not confused by hostile names", async () => {
        for (const hostile of fixture.hostileNames) {
          request = { ...request, volume: await fixture.makeEmpty(hostile, SIZE) };
          await backend.createEncrypted(request);
          expect(await backend.probe(request.volume, "read"), hostile).toMatchObject({ kind: "luks" });
          asGuest("write 0 4k");
        }
        expect(await backend.probe(volume, "read")).toEqual({ kind: "empty" });
      });

      it("formats a volume whose written blocks are all zero", async () => {
        qemuIo(fixture.plainNode(volume), ["write -P 0 0 1M", "write -P 0 4M 1M"]);
        await backend.createEncrypted(request);
        await expectEncrypted();
      });

      it("gives no process the passphrase in its arguments or input", async () => {
        await backend.createEncrypted(request);
        await backend.testPassphrase(volume, request.passphrase);
        const text = request.passphrase.use((bytes) => bytes.toString());
        expect(runner.commands.length).toBeGreaterThan(3);
        for (const { args, input } of runner.commands) {
          expect(args.join(" ")).not.toContain(text);
          expect(String(input)).not.toContain(text);
        }
      });
    });

    describe("createEncrypted once more", () => {
      it("succeeds and changes nothing when it was done before, even under a running guest", async () => {
        const header = await backend.createEncrypted(request);
        asGuest("write -P 0x77 1M 64k");
        const before = await fixture.state();
        const node = backend.qemuNode(volume, "key");
        const again = () => backend.createEncrypted(request);
        expect(await whileOpen(node, again, request.passphrase)).toEqual(header);
        expect(await fixture.state()).toEqual(before);
      });

      it("formats once when two callers come at the same time", async () => {
        const both = [backend, fixture.another()].map((b) => b.createEncrypted(request));
        const [one, two] = await Promise.all(both);
        expect(one).toEqual(two);
        expect(runner.count("cryptsetup luksFormat")).toBe(1);
        await expectEncrypted();
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

    describe("createEncrypted refuses, and changes nothing:", () => {
      it.each([0, SIZE / 2, SIZE - SECTOR])("a volume with data at byte %i", async (offset) => {
        await fixture.writeData(volume, offset, "off");
        await expectRefusal("VOLUME_NOT_EMPTY");
      });

      it("a volume under another key", async () => {
        await backend.createEncrypted(request);
        await expectRefusal("LUKS_UUID_MISMATCH", { ...request, uuid: newKeyUuid() });
      });

      it("a volume under this key whose passphrase is another, when data was written", async () => {
        await backend.createEncrypted(request);
        asGuest("write 0 64k");
        using passphrase = Secret.randomPassphrase();
        await expectRefusal("PASSPHRASE_REJECTED", { ...request, passphrase });
      });

      it("a volume that a guest has open for writing", async () => {
        await whileOpen(fixture.plainNode(volume), () => expectRefusal("VOLUME_BUSY"));
      });

      it("a volume that a guest writes to and shares with other writers", async () => {
        const work = () => expectRefusal("VOLUME_BUSY");
        await whileOpen(fixture.plainNode(volume), work, undefined, "share-rw=on");
      });

      it("a volume that is not there", async () => {
        await expectRefusal("VOLUME_NOT_FOUND", { ...request, volume: fixture.absent() });
      });

      it("a volume of another kind", async () => {
        await expectRefusal("VOLUME_UNSUPPORTED", { ...request, volume: { kind: "none" } });
      });

      it("a volume that cannot be read to its end", async () => {
        const before = await fixture.state();
        const broken = await fixture.breakReading(volume);
        expect(await codeOf(backend.createEncrypted(request))).toBe("VOLUME_UNREADABLE");
        await broken[Symbol.asyncDispose]();
        expect(await fixture.state()).toEqual(before);
      });

      it("a volume that gets data while the header is made, from what heeds no lock", async () => {
        whenHeaderIsMade(() => fixture.writeData(volume, SIZE - SECTOR, "off"));
        expect(await codeOf(backend.createEncrypted(request))).toBe("VOLUME_NOT_EMPTY");
        expect(await backend.probe(volume, "read")).toMatchObject({ kind: "data" });
      });

      it("a volume that vanishes while the header is made", async () => {
        whenHeaderIsMade(() => fixture.remove(volume));
        expect(["VOLUME_NOT_FOUND", "VOLUME_UNREADABLE"]).toContain(
          await codeOf(backend.createEncrypted(request)),
        );
      });

      it("a volume that another one replaces while the header is made", async () => {
        whenHeaderIsMade(() => fixture.replace(volume));
        expect(["VOLUME_NOT_FOUND", "VOLUME_UNREADABLE"]).toContain(
          await codeOf(backend.createEncrypted(request)),
        );
        expect(await backend.probe(volume, "read")).toEqual({ kind: "empty" });
      });
    });

    it("says so when the header cannot be written, and formats the volume when it can be again", async () => {
      const broken = await fixture.breakWriting(volume);
      expect(await codeOf(backend.createEncrypted(request))).toBe("VOLUME_WRITE_FAILED");
      await broken[Symbol.asyncDispose]();
      await backend.createEncrypted(request);
      await expectEncrypted();
    });

    it("finishes what was killed at any step of formatting", async () => {
      using elsewhere = new FormatProcess(fixture);
      let kills = 0;
      for (let step = 1; ; step += fixture.killStride) {
        request = { ...request, volume: await fixture.makeEmpty(`killed-${step}`, SIZE), uuid: newKeyUuid() };
        const ending = await elsewhere.run(request, { killedBefore: step });
        const left = await backend.probe(request.volume, "read");
        expect(["empty", "luks", "bad-luks"], `step ${step}`).toContain(left.kind);
        if (left.kind === "bad-luks") expect(left.claimedUuid).toBe(request.uuid);

        const header = await backend.createEncrypted(request);
        expect(await backend.probe(request.volume, "header")).toEqual({ kind: "luks", header });
        asGuest("write -P 3 0 64k", "read -P 3 0 64k");
        if (ending === "killed") {
          kills++;
          await fixture.remove(request.volume);
          continue;
        }
        expect(ending).toBe("done");
        break;
      }
      expect(kills).toBeGreaterThan(2);
    });

    describe("testPassphrase", () => {
      it("accepts the passphrase and rejects any other", async () => {
        await backend.createEncrypted(request);
        const before = await fixture.state();
        await backend.testPassphrase(volume, request.passphrase);
        using wrong = Secret.randomPassphrase();
        expect(await codeOf(backend.testPassphrase(volume, wrong))).toBe("PASSPHRASE_REJECTED");
        expect(await fixture.state()).toEqual(before);
      });

      it("says so when there is no LUKS header, or no volume", async () => {
        expect(await codeOf(backend.testPassphrase(volume, request.passphrase))).toBe("VOLUME_NOT_FORMATTED");
        const absent = backend.testPassphrase(fixture.absent(), request.passphrase);
        expect(await codeOf(absent)).toBe("VOLUME_NOT_FOUND");
      });
    });

    describe("grow", () => {
      const shown = () => guestSizeByQemu(backend.qemuNode(volume, "key"), request.passphrase);

      it("refuses to make a volume smaller", async () => {
        const header = await backend.createEncrypted(request);
        const before = await fixture.state();
        for (const guest of ["stopped", "running"] as const) {
          const shrinking = { ...request, header, guestSize: BigInt(MIB), guest };
          expect(await codeOf(backend.grow(shrinking))).toBe("VOLUME_WOULD_SHRINK");
        }
        expect(await fixture.state()).toEqual(before);
      });

      it("changes nothing when the guest sees that much already", async () => {
        const header = await backend.createEncrypted(request);
        const guestSize = await backend.guestSize(volume, header);
        const before = await fixture.state();
        expect(await backend.grow({ ...request, header, guestSize, guest: "stopped" })).toBe(guestSize);
        expect(await fixture.state()).toEqual(before);
      });

      it("shows a stopped guest its new size to the byte, with all that it has written", async () => {
        const header = await backend.createEncrypted(request);
        asGuest("write -P 0x55 1M 64k");
        const asked = shown() + BigInt(MIB + SECTOR);
        await fixture.enlarge(volume, asked);
        for (const attempt of ["first", "again"]) {
          const size = await backend.grow({ ...request, header, guestSize: asked, guest: "stopped" });
          expect(size >= asked && size < asked + BigInt(fixture.extent), attempt).toBe(true);
          expect(shown()).toBe(size);
          expect(await backend.guestSize(volume, header)).toBe(size);
        }
        asGuest("read -P 0x55 1M 64k", `write ${asked - BigInt(SECTOR)} ${SECTOR}`);
      });

      it("names the size that the QEMU of a running guest takes, to the byte", async () => {
        const header = await backend.createEncrypted(request);
        const asked = shown() + BigInt(MIB + SECTOR);
        await fixture.enlarge(volume, asked);
        const work = async (resize: (bytes: bigint) => Promise<bigint>) => {
          const size = await backend.grow({ ...request, header, guestSize: asked, guest: "running" });
          expect(size >= asked && size < asked + BigInt(fixture.extent)).toBe(true);
          expect(await resize(size)).toBe(size);
          return size;
        };
        const size = await whileOpen(backend.qemuNode(volume, "key"), work, request.passphrase);
        expect(shown()).toBe(size);
      });
    });

    if (allocates === "only-uses") return;
    it("allocates what its guest shall see, and never over a volume", async () => {
      const allocator = backend;
      if (!canAllocate(allocator)) throw new Error(`${backend.type} cannot allocate`);
      await fixture.remove(volume);
      const guestSize = BigInt(5 * MIB + SECTOR);
      const pool = fixture.pool === undefined ? {} : { pool: fixture.pool };
      await allocator.allocate({ volume, guestSize, ...pool });

      const before = await fixture.state();
      expect(await codeOf(allocator.allocate({ volume, guestSize, ...pool }))).toBe("VOLUME_EXISTS");
      expect(await fixture.state()).toEqual(before);

      const header = await backend.createEncrypted(request);
      const seen = await backend.guestSize(volume, header);
      expect(seen >= guestSize && seen < guestSize + BigInt(fixture.extent)).toBe(true);
      expect(guestSizeByQemu(backend.qemuNode(volume, "key"), request.passphrase)).toBe(seen);
    });
  });
}
