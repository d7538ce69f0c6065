import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { LuksHeader } from "../../src/encryption/luks-header.js";
import type { LuksSpec } from "../../src/encryption/luks-spec.js";
import { newKeyUuid } from "../../src/keystore/key-uuid.js";
import { Secret } from "../../src/secret/secret.js";
import type { FormatRequest } from "../../src/storage/storage-backend.js";
import { cryptsetupOpens, luks2Dump } from "../storage/cryptsetup.js";
import { FormatProcess } from "../storage/format-elsewhere.js";
import { codeOf, MIB, SPEC } from "../storage/workshop.js";
import type { StorageFixture } from "./storage-fixture.js";

const SIZE = 8 * MIB;
const SECTOR = 512;
const VERSIONS = { luks: 1, luksv2: 2 } as const;

/** What storage backends do with each version of LUKS that they carry, told by cryptsetup and not by QEMU. */
export function luksContainerContract(
  name: string,
  make: () => StorageFixture | Promise<StorageFixture>,
  format: LuksSpec["format"],
): void {
  describe(`${name}: the contract of ${format} containers`, () => {
    let fixture: StorageFixture;
    let request: FormatRequest;

    beforeEach(async () => {
      fixture = await make();
      const [volume, spec] = [await fixture.makeEmpty("disk", SIZE), { ...SPEC, format }];
      request = { volume, uuid: newKeyUuid(), spec, passphrase: Secret.randomPassphrase() };
    });
    afterEach(async () => {
      request.passphrase.dispose();
      await fixture[Symbol.asyncDispose]();
    });

    /** The container wherever it stands in the volume. */
    async function container(): Promise<Buffer> {
      const bytes = await fixture.bytes(request.volume);
      const magic = Buffer.from([
        ..."LUKS\xba\xbe\0".split("").map((c) => c.charCodeAt(0)),
        VERSIONS[format],
      ]);
      return bytes.subarray(bytes.indexOf(magic));
    }

    it("opens with cryptsetup, with its passphrase only, and says of itself what cryptsetup says", async () => {
      const header = await fixture.backend.createEncrypted(request);
      expect(header).toMatchObject({ version: VERSIONS[format], uuid: request.uuid, payloadOffset: 2 * MIB });
      for (const depth of ["header", "allocation-map", "read"] as const)
        expect(await fixture.backend.probe(request.volume, depth)).toEqual({ kind: "luks", header });
      const bytes = await container();
      expect(cryptsetupOpens(bytes, request.passphrase)).toBe(true);
      using wrong = Secret.randomPassphrase();
      expect(cryptsetupOpens(bytes, wrong)).toBe(false);
      if (format === "luksv2") expectSame(header, bytes);
    });

    it("is made once, and never under another passphrase or as the other version", async () => {
      const header = await fixture.backend.createEncrypted(request);
      const before = await fixture.state();
      expect(await fixture.backend.createEncrypted(request)).toEqual(header);
      await fixture.backend.testPassphrase(request.volume, request.passphrase);
      using passphrase = Secret.randomPassphrase();
      expect(await codeOf(fixture.backend.testPassphrase(request.volume, passphrase))).toBe(
        "PASSPHRASE_REJECTED",
      );
      const another = { ...request, uuid: newKeyUuid() };
      expect(await codeOf(fixture.backend.createEncrypted(another))).toBe("LUKS_UUID_MISMATCH");
      const spec = { ...request.spec, format: format === "luks" ? "luksv2" : "luks" } as const;
      const refusal = await codeOf(fixture.backend.createEncrypted({ ...request, spec }));
      expect(refusal).toBe(
        fixture.backend.formats.includes(spec.format) ? "VOLUME_NOT_EMPTY" : "VOLUME_UNSUPPORTED",
      );
      expect(await fixture.state()).toEqual(before);
    });

    // what follows holds for the first version with QEMU as the witness: storage-backend.contract.ts
    if (format === "luks") return;

    it("is not made over data", async () => {
      for (const offset of [SIZE / 2, 0]) {
        await fixture.writeData(request.volume, offset, "off");
        const before = await fixture.state();
        expect(await codeOf(fixture.backend.createEncrypted(request))).toBe("VOLUME_NOT_EMPTY");
        expect(await fixture.state()).toEqual(before);
      }
    });

    it("is taken back when it cannot be written, and made when it can be again", async () => {
      const broken = await fixture.breakWriting(request.volume);
      expect(await codeOf(fixture.backend.createEncrypted(request))).toBe("VOLUME_WRITE_FAILED");
      await broken[Symbol.asyncDispose]();
      await fixture.backend.createEncrypted(request);
      expect(cryptsetupOpens(await container(), request.passphrase)).toBe(true);
    });

    it("is finished after a kill at any step", async () => {
      using elsewhere = new FormatProcess(fixture);
      let kills = 0;
      for (let step = 1; ; step += fixture.killStride) {
        request = { ...request, volume: await fixture.makeEmpty(`killed-${step}`, SIZE), uuid: newKeyUuid() };
        const ending = await elsewhere.run(request, { killedBefore: step });
        const left = await fixture.backend.probe(request.volume, "read");
        expect(["empty", "luks", "bad-luks"], `step ${step}`).toContain(left.kind);
        if (left.kind === "bad-luks") expect(left.claimedUuid).toBe(request.uuid);
        // nothing of a header that can be read is missing
        if (left.kind === "luks") expect(cryptsetupOpens(await container(), request.passphrase)).toBe(true);

        const header = await fixture.backend.createEncrypted(request);
        expect(await fixture.backend.probe(request.volume, "header")).toEqual({ kind: "luks", header });
        expect(cryptsetupOpens(await container(), request.passphrase)).toBe(true);
        await fixture.remove(request.volume);
        if (ending !== "killed") {
          expect(ending).toBe("done");
          break;
        }
        kills++;
      }
      expect(kills).toBeGreaterThan(2);
    }, 180_000);

    it.each(["stopped", "running"] as const)(
      "grows under a %s guest, which QEMU cannot do",
      async (guest) => {
        const { backend } = fixture;
        const header = await backend.createEncrypted(request);
        const now = await backend.guestSize(request.volume, header);
        expect(now).toBe(BigInt(SIZE - 2 * MIB));
        const asked = now + BigInt(MIB + SECTOR);
        await fixture.enlarge(request.volume, asked);
        for (const attempt of ["first", "again"]) {
          const size = await backend.grow({ ...request, header, guestSize: asked, guest });
          expect(size >= asked && size < asked + BigInt(fixture.extent), attempt).toBe(true);
          expect(await backend.guestSize(request.volume, header)).toBe(size);
        }
        const shrinking = { ...request, header, guestSize: BigInt(MIB), guest };
        expect(await codeOf(backend.grow(shrinking))).toBe("VOLUME_WOULD_SHRINK");
        expect(cryptsetupOpens(await container(), request.passphrase)).toBe(true);
      },
    );
  });
}

function expectSame(header: LuksHeader, bytes: Buffer): void {
  if (header.version !== 2) throw new Error("not of version 2");
  const { keyslots, segments, digests, config } = luks2Dump(bytes);
  expect({
    ...{ cipher: header.cipher, hash: header.hash, keySize: header.keySize / 8 },
    ...{ payloadOffset: header.payloadOffset, sectorSize: header.sectorSize },
    copySize: header.copySize,
    keyslots: header.keyslots.map(({ offset }) => offset),
  }).toEqual({
    ...{ cipher: segments[0]?.encryption, hash: digests[0]?.hash, keySize: keyslots[0]?.key_size },
    ...{ payloadOffset: Number(segments[0]?.offset), sectorSize: segments[0]?.sector_size },
    copySize: Number(config.json_size) + 4096,
    keyslots: Object.values(keyslots).map(({ area }) => Number(area.offset)),
  });
}
