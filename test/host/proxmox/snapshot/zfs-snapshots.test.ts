import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { ZfsBase } from "../../../../src/host/proxmox/base/zfs.js";
import { ZfsSnapshots } from "../../../../src/host/proxmox/snapshot/zfs-snapshots.js";
import { VolumeLocks } from "../../../../src/storage/volume-lock.js";
import { ScriptedZfs, type ZfsAnswer } from "../../../fake/scripted-zfs.js";
import { codeOf } from "../../../storage/workshop.js";

const directory = mkdtempSync(join(tmpdir(), "luksmith-zfs-snapshots-"));
afterAll(() => rmSync(directory, { recursive: true }));

function scripted(...answers: readonly ZfsAnswer[]) {
  const zfs = new ScriptedZfs(...answers);
  const ports = { runner: zfs, locks: new VolumeLocks(zfs, directory) };
  return { zfs, snapshots: new ZfsSnapshots(new ZfsBase("tank/vms", ports), ports) };
}

const DONE: ZfsAnswer = { says: "" };
const LIST = "zfs list -H -o name -t snapshot -d 1 tank/vms/vm-100-disk-0";
const VOLUMES = "zfs list -H -o name -t volume -d 1 tank/vms";

describe("snapshots of ZFS volumes (no ZFS: a fake tool that answers as told)", () => {
  it("are made by zfs snapshot, and listed without what is no snapshot of Proxmox VE", async () => {
    const { zfs, snapshots } = scripted(DONE, {
      says: "tank/vms/vm-100-disk-0@one\ntank/vms/vm-100-disk-0@auto:2026-01-01\ntank/vms/vm-100-disk-0@__base__\n",
    });
    await snapshots.snapshot("vm-100-disk-0", "one");
    expect(await snapshots.snapshots("vm-100-disk-0")).toEqual(["__base__", "one"]);
    expect(zfs.lines).toEqual(["zfs snapshot tank/vms/vm-100-disk-0@one", LIST]);
  });

  it("that are there already are not made again", async () => {
    const fails = "cannot create snapshot 'tank/vms/vm-100-disk-0@one': dataset already exists";
    expect(await codeOf(scripted({ fails }).snapshots.snapshot("vm-100-disk-0", "one"))).toBe(
      "VOLUME_EXISTS",
    );
  });

  it("are not touched under names that are none", async () => {
    const { zfs, snapshots } = scripted();
    for (const name of ["a@b", "-r", "a/b", "", "n".repeat(41)]) {
      expect(await codeOf(snapshots.snapshot("vm-100-disk-0", name))).toBe("REQUEST_INVALID");
      expect(await codeOf(snapshots.rollback("vm-100-disk-0", name))).toBe("REQUEST_INVALID");
      expect(await codeOf(snapshots.deleteSnapshot("vm-100-disk-0", name))).toBe("REQUEST_INVALID");
    }
    expect(zfs.lines).toEqual([]);
  });

  it("are brought back only where they are the latest", async () => {
    const fails = "cannot rollback to 'tank/vms/vm-100-disk-0@one': more recent snapshots or bookmarks exist";
    // no volume that could be in use
    const { zfs, snapshots } = scripted(DONE, { fails });
    expect(await codeOf(snapshots.rollback("vm-100-disk-0", "one"))).toBe("VOLUME_BUSY");
    expect(zfs.lines).toEqual([VOLUMES, "zfs rollback tank/vms/vm-100-disk-0@one"]);
  });

  it("are removed once, and not while they have clones", async () => {
    const one = { says: "tank/vms/vm-100-disk-0@one\n" };
    const { zfs, snapshots } = scripted(one, DONE, DONE);
    await snapshots.deleteSnapshot("vm-100-disk-0", "one");
    await snapshots.deleteSnapshot("vm-100-disk-0", "one");
    expect(zfs.lines).toEqual([LIST, "zfs destroy tank/vms/vm-100-disk-0@one", LIST]);
    const fails = "cannot destroy 'tank/vms/vm-100-disk-0@one': snapshot has dependent clones";
    expect(await codeOf(scripted(one, { fails }).snapshots.deleteSnapshot("vm-100-disk-0", "one"))).toBe(
      "VOLUME_BUSY",
    );
  });
});

describe("templates on ZFS (no ZFS: a fake tool that answers as told)", () => {
  it("are finished where their making was ended after the rename", async () => {
    const { zfs, snapshots } = scripted({ says: "tank/vms/base-100-disk-0\n" }, DONE, DONE, DONE);
    await snapshots.makeTemplate("vm-100-disk-0", "base-100-disk-0");
    expect(zfs.lines).toEqual([
      VOLUMES,
      "zfs list -H -o name -t snapshot -d 1 tank/vms/base-100-disk-0",
      "zfs snapshot tank/vms/base-100-disk-0@__base__",
      "zfs set readonly=on tank/vms/base-100-disk-0",
    ]);
  });

  it("are not made of volumes with snapshots", async () => {
    const { snapshots } = scripted(
      { says: "tank/vms/vm-100-disk-0\n" },
      { says: "tank/vms/vm-100-disk-0@one\n" },
    );
    expect(await codeOf(snapshots.makeTemplate("vm-100-disk-0", "base-100-disk-0"))).toBe("VOLUME_BUSY");
  });

  it("are cloned from their snapshot, under a name that is free", async () => {
    const { zfs, snapshots } = scripted(DONE, {
      fails: "cannot create 'tank/vms/vm-101-disk-0': dataset already exists",
    });
    const clone = () => snapshots.clone("base-100-disk-0", undefined, "vm-101-disk-0");
    await clone();
    expect(await codeOf(clone())).toBe("VOLUME_EXISTS");
    expect(zfs.lines[0]).toBe(
      "zfs clone -o volmode=dev tank/vms/base-100-disk-0@__base__ tank/vms/vm-101-disk-0",
    );
  });
});
