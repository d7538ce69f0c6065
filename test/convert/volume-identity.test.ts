import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { deviceIdentity, identityAt, outlivesRestart } from "../../src/convert/volume-identity.js";
import { LoopDevice } from "../lab/loop-device.js";

let dir: string;
beforeEach(() => {
  dir = mkdtempSync("/var/tmp/luksmith-test-");
});
afterEach(() => rmSync(dir, { recursive: true }));

/** A sysfs of one's own, since no test has such disks. */
function identity(
  number: string,
  attributes: Record<string, string>,
  boot = "b1",
): Promise<string | undefined> {
  const places = { devices: join(dir, "dev"), bootId: join(dir, "boot_id") };
  const all = { ...attributes, "dev/8:0": "", "dev/8:1": "", boot_id: boot };
  for (const [name, text] of Object.entries(all)) {
    const path = join(dir, name);
    mkdirSync(dirname(path), { recursive: true });
    if (text !== "") writeFileSync(path, `${text}\n`);
  }
  for (const [link, target] of [
    ["8:0", "sda"],
    ["8:1", "sda/sda1"],
  ] as const) {
    rmSync(join(dir, "dev", link), { force: true });
    symlinkSync(join(dir, target), join(dir, "dev", link));
  }
  return deviceIdentity(number, places);
}

describe("a device is known again", () => {
  test("by what it has of its own, whatever number it gets, and after a restart", async () => {
    const disk = { "sda/size": "2048", "sda/device/wwid": "naa.5000c500a1b2c3d4", "sda/diskseq": "9" };
    const before = await identity("8:0", disk);
    expect(before).toBe("device device/wwid naa.5000c500a1b2c3d4 size 2048");
    expect(await identity("8:0", { ...disk, "sda/diskseq": "12" }, "b2")).toBe(before);
    expect(outlivesRestart(before ?? "")).toBe(true);
    expect(await identity("8:0", { ...disk, "sda/device/wwid": "naa.5000c500ffffffff" })).not.toBe(before);
    expect(await identity("8:0", { ...disk, "sda/size": "4096" })).not.toBe(before);
  });

  test("as one partition of its disk", async () => {
    const disk = { "sda/size": "9999", "sda/serial": "S1", "sda/sda1/size": "2048" };
    const first = await identity("8:1", { ...disk, "sda/sda1/partition": "1", "sda/sda1/start": "34" });
    expect(first).toBe("device serial S1 partition 1 at 34 size 2048");
    expect(await identity("8:1", { ...disk, "sda/sda1/partition": "2" })).not.toBe(first);
  });

  test("as LVM's volume without asking LVM, in its words", async () => {
    const id = "abcdefghijklmnopqrstuvwxyzABCDEF";
    const dm = { "sda/size": "2048", "sda/dm/uuid": `LVM-${"0".repeat(32)}${id}` };
    expect(await identity("8:0", dm)).toBe("lv abcdef-ghij-klmn-opqr-stuv-wxyz-ABCDEF");
    expect(await identity("8:0", { ...dm, "sda/dm/uuid": "mpath-3600a0b8" })).toMatch(
      /dm\/uuid mpath-3600a0b8/,
    );
  });

  test("only until the host restarts, or another disk gets its number, where it has nothing", async () => {
    const disk = { "sda/size": "2048", "sda/serial": " ", "sda/diskseq": "9" };
    const before = await identity("8:0", disk);
    expect(outlivesRestart(before ?? "")).toBe(false);
    expect(await identity("8:0", disk)).toBe(before);
    expect(await identity("8:0", disk, "b2")).not.toBe(before);
    expect(await identity("8:0", { ...disk, "sda/diskseq": "10" })).not.toBe(before);
  });

  test("and a real one by its kernel", async () => {
    using loop = new LoopDevice(1024 * 1024);
    const found = await identityAt(loop.path);
    expect(found).toMatch(/^device 7:\d+ disk \d+ size 2048 until restart [0-9a-f-]{36}$/);
    expect(await identityAt(loop.path)).toBe(found);
    expect(await identityAt(`${loop.path}x`)).toBeUndefined();
  });
});
