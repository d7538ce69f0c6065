import { describe, expect, it } from "vitest";
import { LibvirtHotPlug } from "../../../src/host/libvirt/hot-plug.js";
import { Virsh } from "../../../src/host/libvirt/virsh.js";
import { domainXml } from "../../lab/test-domain.js";
import { RecordingRunner } from "./recording-runner.js";

const ID = "037ee078-878a-4acb-8b89-10264c853ff0";
const GUEST = { id: ID, name: "web1" };
const KEY = "7f3a0c54-9b1e-4d27-8a60-1c2d3e4f5a6b";
const NAME = `luksmith-vm1-${KEY}`;
const entry = (volume: string) =>
  `<luksmith:mappings xmlns:luksmith='urn:luksmith:mappings:1'><luksmith:mapping dev='vdb' name='${NAME}' type='block' volume="${volume}" format='luks' secret='${KEY}'/></luksmith:mappings>`;
const DISK = `<disk type='block'><source dev='/dev/mapper/${NAME}'/><target dev='vdb' bus='virtio'/><address type='pci' slot='0x07'/></disk>`;

const persistent = (metadata = "") => ({
  stdout: domainXml({ name: "web1", uuid: ID, devices: DISK, metadata }),
});
const live = (devices = "", metadata = "") => ({
  stdout: `${ID}\n\n${domainXml({ name: "web1", uuid: ID, devices, metadata })}`,
});
const refused = { exitCode: 1, stderr: "error: Failed\nerror: no\n" };

function hotPlugOn(...answers: ConstructorParameters<typeof RecordingRunner>) {
  const runner = new RecordingRunner(...answers);
  const quick = { requests: 2, looks: 2, pause: 1 };
  return { runner, hotPlug: new LibvirtHotPlug(new Virsh("qemu:///system", runner), quick) };
}

const SHOW = `list --uuid; dumpxml --security-info --domain ${ID}`;
const set = (volume: string) =>
  `metadata --domain ${ID} --uri 'urn:luksmith:mappings:1' --live --key luksmith --set ` +
  `'<mappings><mapping dev='\\''vdb'\\'' name='\\''${NAME}'\\'' type='\\''block'\\'' volume='\\''${volume}'\\'' format='\\''luks'\\'' secret='\\''${KEY}'\\''/></mappings>'`;
const REMOVE = `metadata --domain ${ID} --uri 'urn:luksmith:mappings:1' --live --remove`;

describe("giving a disk to a running guest", () => {
  it("says first what lies under it, in words that virsh does not take apart", async () => {
    const { runner, hotPlug } = hotPlugOn(persistent(entry("/dev/vg/a'; b")), live(), {}, {});
    await hotPlug.attach(GUEST, "vdb");
    expect(runner.scripts).toEqual([
      `dumpxml --inactive --security-info --domain ${ID}`,
      SHOW,
      set("/dev/vg/a&apos;; b"),
      `attach-device --domain ${ID} --file /proc/self/fd/3 --live`,
    ]);
    expect(runner.commands.at(-1)?.files).toEqual([DISK]);
  });

  it("tries again without the place that the configuration gives it", async () => {
    const { runner, hotPlug } = hotPlugOn(persistent(), live(), refused, {});
    await hotPlug.attach(GUEST, "vdb");
    expect(runner.commands.at(-1)?.files[0]).not.toContain("<address");
  });

  it("takes back what it said when that fails, and reports the failure of the disk", async () => {
    const answers = [persistent(entry("/dev/vg/a")), live(), {}, refused, refused];
    const { runner, hotPlug } = hotPlugOn(...answers, live("", entry("/dev/vg/a")), refused, live());
    await expect(hotPlug.attach(GUEST, "vdb")).rejects.toMatchObject({
      code: "DISK_ATTACH_FAILED",
      why: "Failed: no",
      hint: "put this right and run the command again",
    });
    expect(runner.scripts.slice(-2)).toEqual([REMOVE, SHOW]);
  });

  it("does nothing for a guest that has it", async () => {
    const metadata = entry("/dev/vg/a");
    const { runner, hotPlug } = hotPlugOn(persistent(metadata), live(DISK, metadata));
    await hotPlug.attach(GUEST, "vdb");
    expect(runner.commands).toHaveLength(2);
  });

  it("puts metadata right that the running guest has lost", async () => {
    const { runner, hotPlug } = hotPlugOn(persistent(entry("/dev/vg/a")), live(DISK), {});
    await hotPlug.attach(GUEST, "vdb");
    expect(runner.scripts.at(-1)).toBe(set("/dev/vg/a"));
  });

  it.each([
    ["GUEST_NOT_RUNNING", { stdout: `\n${domainXml({ name: "web1", uuid: ID })}` }],
    ["DISK_ATTACH_FAILED", live(DISK.replace("vm1", "vm2"))],
    ["GUEST_CONFIG_INVALID", live("", entry("/dev/vg/a").replace("'luks'", "'skul'"))],
    ["GUEST_NOT_FOUND", refused],
  ])("refuses with %s before anything is changed", async (code, answer) => {
    const { runner, hotPlug } = hotPlugOn(persistent(entry("/dev/vg/a")), answer);
    await expect(hotPlug.attach(GUEST, "vdb")).rejects.toMatchObject({ code });
    expect(runner.commands).toHaveLength(2);
  });
});

describe("taking a disk from a running guest", () => {
  const DETACH = `detach-disk --domain ${ID} --target vdb --live`;
  const has = live(DISK, entry("/dev/vg/a"));
  const gone = live("", entry("/dev/vg/a"));

  it("waits until it is gone, and forgets what lay under it", async () => {
    const { runner, hotPlug } = hotPlugOn(has, {}, has, gone, gone, gone, gone, {});
    await hotPlug.detach(GUEST, "vdb");
    expect(runner.scripts.filter((script) => script !== SHOW)).toEqual([DETACH, REMOVE]);
  });

  it("asks again when the guest does not answer, and minds no refusal of that", async () => {
    const { runner, hotPlug } = hotPlugOn(has, {}, has, has, has, refused, has, gone, gone, gone, {});
    await hotPlug.detach(GUEST, "vdb");
    expect(runner.scripts.filter((script) => script !== SHOW)).toEqual([DETACH, DETACH, REMOVE]);
  });

  it("says when the guest keeps it, which then still knows what lies under it", async () => {
    const { runner, hotPlug } = hotPlugOn(has, {}, has, has, has, {}, has, has, has);
    await expect(hotPlug.detach(GUEST, "vdb")).rejects.toMatchObject({
      code: "DISK_DETACH_FAILED",
      why: "it was asked, and has not let the disk go",
    });
    expect(runner.scripts).not.toContain(REMOVE);
  });

  it("does not wait for a guest that was never asked", async () => {
    const { hotPlug } = hotPlugOn(has, refused, has, refused, has);
    await expect(hotPlug.detach(GUEST, "vdb")).rejects.toMatchObject({
      code: "DISK_DETACH_FAILED",
      why: "Failed: no",
    });
  });

  it("leaves metadata alone that it cannot understand", async () => {
    const broken = live("", entry("/dev/vg/a").replace("'luks'", "'skul'"));
    const { runner, hotPlug } = hotPlugOn(broken, broken, broken);
    await hotPlug.detach(GUEST, "vdb");
    expect(new Set(runner.scripts)).toEqual(new Set([SHOW]));
  });

  it("has nothing to do for a guest that does not run", async () => {
    const off = { stdout: `\n${domainXml({ name: "web1", uuid: ID, devices: DISK })}` };
    const { runner, hotPlug } = hotPlugOn(off, off, off);
    await hotPlug.detach(GUEST, "vdb");
    expect(new Set(runner.scripts)).toEqual(new Set([SHOW]));
  });
});
