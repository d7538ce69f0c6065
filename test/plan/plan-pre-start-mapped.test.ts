import { describe, expect, it } from "vitest";
import type { LuksHeader } from "../../src/encryption/luks-header.js";
import { planProvide } from "../../src/plan/plan-provide.js";
import { GUEST, luks, planFor, refusal, text } from "./pre-start-plans.js";
import { header, known, mapped, NOW, uuid } from "./builders.js";

describe("a disk that names a mapping", () => {
  it("is opened as one instead of being given a host secret, beside disks that QEMU opens", async () => {
    const plan = planFor(known("vda", 1, "active", luks(1)), mapped("vdb", 2, "active", luks(2)));
    await expect(text(plan)).toMatchFileSnapshot("../golden/plans/mixed.txt");
  });

  it("is formatted for dm-crypt before it is opened, while it is new", () => {
    const [format, activate, open] = planFor(mapped("vda", 1, "pending", { kind: "empty" }, "luksv2")).stages;
    expect(format).toMatchObject([
      { kind: "format", provider: "dm-crypt", record: { encryption: { format: "luksv2" } } },
    ]);
    expect(activate).toMatchObject([{ kind: "activate-key" }]);
    expect(open).toMatchObject([{ kind: "open-mapping", mapping: `luksmith-vda.img-${uuid(1)}` }]);
  });

  it("needs no header where its format has none, and its volume", () => {
    for (const kind of ["empty", "allocated"] as const)
      expect(planFor(mapped("vda", 1, "active", { kind }, "plain")).stages).toHaveLength(1);
    const data = { kind: "data", signature: undefined } as const;
    expect(planFor(mapped("vda", 1, "active", data, "plain")).stages).toHaveLength(1);
    expect(refusal(mapped("vda", 1, "active", { kind: "absent" }, "plain")).code).toBe("VOLUME_NOT_FOUND");
    expect(refusal(mapped("vda", 1, "active", luks(9), "plain")).code).toBe("LUKS_UUID_MISMATCH");
  });

  it("is refused if its volume has lost the key's header", () => {
    expect(refusal(mapped("vda", 1, "active", { kind: "empty" })).code).toBe("VOLUME_NOT_FORMATTED");
  });

  it.each([{ cipher: "aes-ecb" }, { keySize: 256 }, { version: 2 as const }])(
    "is refused if its header says %o and its key another, as if QEMU opened it",
    (forged) => {
      const probe = { kind: "luks", header: { ...header(1), ...forged } as LuksHeader } as const;
      for (const fact of [mapped("vda", 1, "active", probe), known("vda", 1, "active", probe)])
        expect(refusal(fact).code).toBe("LUKS_HEADER_INVALID");
    },
  );

  it("is refused if its format has no header and its volume is not the one that the key was made for", () => {
    const fact = mapped("vda", 1, "active", { kind: "data", signature: undefined }, "plain");
    const volume = { kind: "block", path: "/dev/vg/another", format: "raw" } as const;
    expect(refusal({ ...fact, disk: { ...fact.disk, volume } }).code).toBe("KEY_IN_USE");
  });

  it("is refused beside another disk with a mapping of this name", () => {
    const [vda, vdb] = [mapped("vda", 1, "active", luks(1)), mapped("vdb", 2, "active", luks(2))];
    const same = { ...vdb, disk: { ...vdb.disk, mapping: vda.disk.mapping! } };
    expect(refusal(vda, same).code).toBe("GUEST_CONFIG_INVALID");
  });

  it("is refused if its annotation names another format than its key", () => {
    const fact = mapped("vda", 1, "active", { kind: "data", signature: undefined }, "plain");
    const disguised = { ...fact, disk: { ...fact.disk, encryption_format: "luks" as const } };
    expect(refusal(disguised).code).toBe("REQUEST_CONFLICT");
  });

  it("is opened for a guest that is restored or migrates here, and never formatted", () => {
    const opened = planProvide(GUEST, [mapped("vda", 1, "active", luks(1))], NOW).stages.flat();
    expect(opened).toMatchObject([{ kind: "open-mapping" }]);
    const isNew = [mapped("vda", 1, "pending", { kind: "empty" })];
    expect(() => planProvide(GUEST, isNew, NOW)).toThrow("was never formatted");
  });
});
