import { describe, expect, it } from "vitest";
import type { EncryptionFormat } from "../../src/encryption/luks-spec.js";
import { withFittingLegacy } from "../../src/plan/fitting-legacy.js";
import { refuseUnannotated } from "../../src/plan/refusals.js";
import { resolveRequests } from "../../src/request/resolve.js";
import { parseSettings } from "../../src/settings/load.js";
import type { StorageBackend } from "../../src/storage/storage-backend.js";
import { disk, guestWith } from "./builders.js";

const SETTINGS = parseSettings('{"version":1,"legacy":{"enabled":true}}', "the test");
const OFF = parseSettings('{"version":1}', "the test");

const on = (dev: string, path: string) =>
  disk(dev, undefined, { volume: { kind: "block", path, format: "raw" } });

/** Where all volumes are of one backend; it notes what it is asked about. */
function storageWith(...formats: EncryptionFormat[]) {
  const asked: string[] = [];
  const findBackend = (volume: { readonly path?: string }) => {
    asked.push(volume.path ?? "");
    return Promise.resolve({ formats } as unknown as StorageBackend);
  };
  return { asked, findBackend: findBackend as never };
}

async function askedFor(path: string, storage = storageWith("luks", "luksv2"), settings = SETTINGS) {
  const guest = guestWith(on("vda", path));
  return [...(await withFittingLegacy(guest, resolveRequests(guest, settings), storage)).keys()];
}

describe("what the legacy settings ask for", () => {
  it.each(["/dev/md/data", "/dev/drbd/r0", "/dev/mapper/mpath-a"])(
    "holds for %s only where LVM has it",
    async (path) => {
      expect(await askedFor(path)).toEqual([]);
      expect(await askedFor(path, storageWith("luks", "luksv2", "plain"))).toEqual(["vda"]);
    },
  );

  it("has no device looked at where they are off, or where somebody else speaks", async () => {
    const storage = storageWith("luks");
    expect(await askedFor("/dev/vg/vm1", storage, OFF)).toEqual([]);
    const ask = { source: "flavor", enabled: true };
    const guest = { ...guestWith(on("vda", "/dev/md/data")), asks: [ask] };
    expect((await withFittingLegacy(guest, resolveRequests(guest, SETTINGS), storage)).size).toBe(1);
    expect(storage.asked).toEqual([]);
  });

  it.each(["/dev/mapper/inst_disk-dmcrypt", "/dev/mapper/0d7f1f0c-3a5c-4b5f-9d43-5a3f6b1c2d3e_disk-dmcrypt"])(
    "sends the disk of %s to its adoption, which knows its key",
    async (path) => {
      const guest = guestWith(on("vda", path), on("vdb", "/dev/vg/vm1"));
      const storage = storageWith("luks", "luksv2", "plain");
      const requests = await withFittingLegacy(guest, resolveRequests(guest, SETTINGS), storage);
      expect(storage.asked).toEqual(["/dev/vg/vm1"]);
      const lv = path.slice("/dev/mapper/".length, -"-dmcrypt".length);
      expect(() => refuseUnannotated(guest, requests)).toThrow(
        expect.objectContaining({
          code: "DISK_NOT_ENCRYPTED",
          hint: `disk vda names a mapping as Nova makes them: luksmith adopt web1 vda --volume /dev/GROUP/${lv} --key-file FILE; for the others: luksmith protect web1 --disk vdb`,
        }) as Error,
      );
    },
  );
});
