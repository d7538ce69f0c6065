import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { BaseStorage } from "../../src/host/proxmox/base/base-storage.js";
import { backendOf } from "../../src/host/proxmox/bridge/opened-volume.js";
import { Secret } from "../../src/secret/secret.js";
import { canAllocate } from "../../src/storage/storage-backend.js";
import type { BridgeWorkshop } from "../host/proxmox/bridge/bridge-workshop.js";
import { guestSizeByQemu, qemuIo } from "../storage/qemu.js";
import { whileOpen } from "../storage/running-guest.js";
import { codeOf, MIB } from "../storage/workshop.js";

export interface BaseFixture {
  readonly workshop: BridgeWorkshop;
  /** Bytes by which a volume grows. */
  readonly extent: number;
}

/** What every base does. @param make for each test a base without volumes; the contract disposes of the workshop */
export function baseStorageContract(make: () => BaseFixture): void {
  let fixture: BaseFixture;
  let workshop: BridgeWorkshop;
  let base: BaseStorage;
  beforeEach(() => {
    fixture = make();
    ({ workshop } = fixture);
    ({ base } = workshop);
  });
  afterEach(async () => {
    for (const name of await base.list()) await base.remove(name);
    workshop[Symbol.dispose]();
  });

  const passphraseOf = async (uuid: string | undefined) => {
    const key = await workshop.local.fetch(uuid as never);
    if (key === undefined) throw new Error("the volume has no key");
    return key.passphrase;
  };

  describe("a base", () => {
    it("has volumes that the bridge makes, as large as asked for, which their key alone opens", async () => {
      const { uuid, size = 0 } = await workshop.create("vm-100-disk-0", 9 * MIB);
      expect(size).toBeGreaterThanOrEqual(9 * MIB);
      expect(size).toBeLessThan(9 * MIB + fixture.extent);
      expect(await base.list()).toEqual(["vm-100-disk-0"]);
      expect(await workshop.ask({ op: "size" })).toEqual({ uuid, size });
      const active = await base.activate("vm-100-disk-0");
      const node = base.qemuNode("vm-100-disk-0", undefined, "key");
      using passphrase = await passphraseOf(uuid);
      expect(guestSizeByQemu(node, passphrase)).toBe(BigInt(size));
      using wrong = Secret.randomPassphrase();
      qemuIo(node, ["read 0 512"], passphrase);
      expect(() => qemuIo(node, ["read 0 512"], wrong)).toThrow(/Invalid password/);
      await active[Symbol.asyncDispose]();
    });

    it("never makes a volume under a name that is taken", async () => {
      const { uuid } = await workshop.create();
      expect(await codeOf(workshop.create())).toBe("VOLUME_EXISTS");
      expect(await workshop.ask({ op: "size" })).toMatchObject({ uuid });
      expect(await workshop.keys()).toHaveLength(1);
    });

    it("enlarges volumes, and never makes one smaller", async () => {
      await workshop.create();
      const { size = 0 } = await workshop.ask({ op: "resize", size: 17 * MIB, running: false });
      expect(size).toBeGreaterThanOrEqual(17 * MIB);
      expect(await workshop.ask({ op: "size" })).toMatchObject({ size });
      const smaller = workshop.ask({ op: "resize", size: 4 * MIB, running: false });
      expect(await codeOf(smaller)).toBe("VOLUME_WOULD_SHRINK");
    });

    it("removes a volume, and one that is gone", async () => {
      await workshop.create();
      await base.remove("vm-100-disk-0");
      expect(await base.list()).toEqual([]);
      await base.remove("vm-100-disk-0");
      expect(await codeOf(base.activate("vm-100-disk-0"))).toBe("VOLUME_NOT_FOUND");
    });

    it("renames a volume, never over another one", async () => {
      const { uuid } = await workshop.create();
      const other = await workshop.create("vm-100-disk-1");
      expect(await codeOf(base.rename("vm-100-disk-0", "vm-100-disk-1"))).toBe("VOLUME_EXISTS");
      expect(await workshop.ask({ op: "size", volume: "vm-100-disk-1" })).toMatchObject({ uuid: other.uuid });
      await base.rename("vm-100-disk-0", "vm-101-disk-0");
      expect(await base.list()).toEqual(["vm-100-disk-1", "vm-101-disk-0"]);
      expect(await workshop.ask({ op: "size", volume: "vm-101-disk-0" })).toMatchObject({ uuid });
      expect(await codeOf(base.rename("vm-100-disk-0", "vm-102-disk-0"))).toBe("VOLUME_NOT_FOUND");
      expect(await base.list()).toEqual(["vm-100-disk-1", "vm-101-disk-0"]);
    });

    it("leaves a volume alone that a guest has open", { timeout: 60_000 }, async () => {
      const { uuid, size } = await workshop.create();
      using passphrase = await passphraseOf(uuid);
      const active = await base.activate("vm-100-disk-0");
      const node = base.qemuNode("vm-100-disk-0", undefined, "key");
      await whileOpen(
        node,
        async () => {
          expect(await codeOf(base.requireUnused("vm-100-disk-0"))).toBe("VOLUME_BUSY");
          expect(await codeOf(base.remove("vm-100-disk-0"))).toBe("VOLUME_BUSY");
          expect(await codeOf(workshop.free())).toBe("VOLUME_BUSY");
          expect(await codeOf(base.rename("vm-100-disk-0", "vm-100-disk-1"))).toBe("VOLUME_BUSY");
        },
        passphrase,
      );
      await active[Symbol.asyncDispose]();
      expect(await base.list()).toEqual(["vm-100-disk-0"]);
      expect(await workshop.ask({ op: "size" })).toEqual({ uuid, size });
      // and its key is not marked as freed
      expect(await workshop.keys()).toMatchObject([{ uuid, state: "active" }]);
      expect(await workshop.keys()).not.toMatchObject([{ freedAt: expect.anything() as string }]);
      await base.requireUnused("vm-100-disk-0");
    });

    it("frees a volume that was never finished", async () => {
      await allocateOnly();
      expect(await codeOf(workshop.ask({ op: "size" }))).toBe("VOLUME_NOT_FORMATTED");
      expect(await codeOf(workshop.provide())).toBe("VOLUME_NOT_FORMATTED");
      await workshop.free();
      expect(await base.list()).toEqual([]);
    });
  });

  async function allocateOnly(): Promise<void> {
    const backend = backendOf(base, workshop.resources.storage);
    if (!canAllocate(backend)) throw new Error("it makes no volumes");
    const pool = base.pool === undefined ? {} : { pool: base.pool };
    await backend.allocate({ volume: base.volume("vm-100-disk-0"), guestSize: BigInt(8 * MIB), ...pool });
  }
}
