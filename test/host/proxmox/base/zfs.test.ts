import { describe, expect, it } from "vitest";
import { ZfsBase } from "../../../../src/host/proxmox/base/zfs.js";
import { VolumeLocks } from "../../../../src/storage/volume-lock.js";
import { ScriptedZfs, type ZfsAnswer } from "../../../fake/scripted-zfs.js";
import { codeOf } from "../../../storage/workshop.js";

const DATASET = "luksmith-no-pool/encrypted";
const LIST = `zfs list -H -o name -t volume -d 1 ${DATASET}`;
const VOLUME = `${DATASET}/vm-100-disk-0`;
const there = { says: `${VOLUME}\n` };
const none = { says: "" };

function scripted(...answers: readonly ZfsAnswer[]) {
  const runner = new ScriptedZfs(...answers);
  return { runner, base: new ZfsBase(DATASET, { runner, locks: new VolumeLocks(runner, "/nowhere") }, 100) };
}

describe("a ZFS dataset", () => {
  it("calls its volumes as udev does", () => {
    const { base } = scripted();
    expect(base.volume("vm-100-disk-0")).toEqual({
      ...{ kind: "block", format: "raw" },
      path: `/dev/zvol/${VOLUME}`,
    });
    expect(base.qemuNode("vm-100-disk-0", "one", "key")).toEqual({
      ...{ driver: "luks", "key-secret": "key" },
      file: { driver: "host_device", filename: `/dev/zvol/${VOLUME}@one` },
    });
  });

  it("lists the volumes right below it that Proxmox VE has named", async () => {
    const names = [DATASET, VOLUME, `${DATASET}/vm-100-disk-0/vm-101-disk-0`, `${DATASET}/swap`];
    const { base, runner } = scripted({ says: `${names.join("\n")}\n` });
    expect(await base.list()).toEqual(["vm-100-disk-0"]);
    expect(runner.lines).toEqual([LIST]);
  });

  it("that ZFS does not have cannot be listed", async () => {
    const { base } = scripted({ fails: `cannot open '${DATASET}': dataset does not exist` });
    expect(await codeOf(base.list())).toBe("VOLUME_UNREADABLE");
  });

  it("removes a volume that is gone, without a word", async () => {
    const { base, runner } = scripted(none, none);
    await base.remove("vm-100-disk-0");
    await base.requireUnused("vm-100-disk-0");
    expect(runner.lines).toEqual([LIST, LIST]);
  });

  it("leaves a volume with snapshots as it is", async () => {
    const { base, runner } = scripted(there, { says: `${VOLUME}@one\n` });
    expect(await codeOf(base.remove("vm-100-disk-0"))).toBe("VOLUME_BUSY");
    expect(runner.lines).toHaveLength(2);
  });

  it("renames nothing that is not there, and over nothing that is", async () => {
    expect(await codeOf(scripted(none).base.rename("vm-100-disk-0", "vm-101-disk-0"))).toBe(
      "VOLUME_NOT_FOUND",
    );
    const both = { says: `${VOLUME}\n${DATASET}/vm-101-disk-0\n` };
    expect(await codeOf(scripted(both).base.rename("vm-100-disk-0", "vm-101-disk-0"))).toBe("VOLUME_EXISTS");
  });

  it("shows the device of a snapshot for as long as it is used", async () => {
    const { base, runner } = scripted({ says: "snapdev\thidden\n" }, none, none);
    expect(await codeOf(base.activate("vm-100-disk-0", "one"))).toBe("VOLUME_UNREADABLE");
    expect(runner.lines).toEqual([
      `zfs get -Hp -o property,value snapdev ${VOLUME}`,
      `zfs set snapdev=visible ${VOLUME}`,
      `zfs set snapdev=hidden ${VOLUME}`,
    ]);
  });
});
