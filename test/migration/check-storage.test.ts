import { describe, expect, it } from "vitest";
import { disk, uuid } from "../plan/builders.js";
import { check, refusals, said, there, warnings } from "./check-scene.js";

describe("storage", () => {
  const vda = disk("vda", 1);
  const vdb = disk("vdb", 2);
  const copied = { disks: [there("vda", 9, "copied")] };
  const same = { disks: [there("vda", 1, "same")] };
  const mixed = { disks: [there("vda", 1, "same"), there("vdb", 9, "copied")] };

  it("must be copied where the volume there is new", () => {
    const report = check({ disks: [vda], answer: copied });
    expect(refusals(report)).toEqual([
      "STORAGE_NOT_COPIED: the content of disk vda is not there, and would not be copied",
    ]);
    expect(said(report)).toContain("use --copy-storage");
    expect(said(report)).not.toContain("--tunnelled");
  });

  it("cannot be copied through a tunnel, which the hint says", () => {
    const report = check({ disks: [vda], answer: copied, tunnelled: true });
    expect(said(report)).toContain("--tls in the place of --tunnelled");
  });

  it("is copied as a whole if all of it is new there", () => {
    const report = check({ disks: [vda, disk("vdc")], answer: copied, copyStorage: true });
    expect(report.command).toContain(" --copy-storage-all --tls web1 ");
    expect(said(report)).toContain(
      "the content of disk vda is copied, and encrypted there with a key of its own",
    );
    expect(said(report)).toContain("disk vdc is copied as well");
    expect(report.disks[0]).toMatchObject({ key: uuid(9) });
  });

  it("must not be copied onto itself", () => {
    const report = check({ disks: [vda], answer: same, copyStorage: true });
    expect(refusals(report)).toEqual(["COPY_SHARES_KEY: --copy-storage would copy disk vda onto itself"]);
  });

  it("is copied only where it is not shared", () => {
    const report = check({ disks: [vda, vdb], answer: mixed, copyStorage: true });
    expect(report.command).toContain(" --copy-storage-all --migrate-disks vdb --tls ");
    expect(warnings(report)).toEqual([]);
  });

  it("is not known of a plain disk beside a shared one: a warning, and the list of disks", () => {
    const report = check({ disks: [vda, vdb, disk("vdc")], answer: mixed, copyStorage: true });
    expect(report.command).toContain(" --migrate-disks vdb ");
    expect(warnings(report)).toEqual(["disk vdc would not be copied"]);
    const alone = check({ disks: [vda, disk("vdc"), disk("vdd")], answer: same, copyStorage: true });
    expect(alone.command).toContain(" --migrate-disks vdc,vdd ");
    expect(warnings(alone)).toEqual(["only disks vdc and vdd would be copied"]);
  });

  it("is not copied by libvirt if the guest cannot write it", () => {
    const readOnly = disk("vda", 1, { readOnly: true });
    expect(refusals(check({ disks: [readOnly], answer: copied, copyStorage: true }))).toEqual([
      expect.stringContaining(
        "STORAGE_NOT_COPIED: the content of disk vda is not there, and libvirt copies no",
      ),
    ]);
    const report = check({ disks: [readOnly, disk("vdb")], answer: same, copyStorage: true });
    expect(refusals(report)).toEqual([]);
    expect(report.command).not.toContain("--migrate-disks");
  });

  it("is not guessed at where the target refuses", () => {
    const problem = { code: "VOLUME_NOT_FOUND", what: "no volume" };
    const report = check({ disks: [vda], answer: { problem }, copyStorage: true });
    expect(refusals(report)).toEqual(["VOLUME_NOT_FOUND: no volume"]);
  });
});
