import { describe, expect, it } from "vitest";
import { diskInArgs } from "../../../src/guest-config/proxmox/args-disks.js";
import { ProxmoxWorld, startOf } from "./proxmox-world.js";

describe("args of a VM", () => {
  it.each([
    ["-drive file=/dev/sdz,if=virtio", "-drive"],
    ["--drive file=/x", "-drive"],
    ["-cpu host -blockdev driver=file,filename=/x,node-name=n", "-blockdev"],
    ["-hdb /x", "-hdb"],
    ["'-cdrom' /x", "-cdrom"],
    ['-dri"ve" file=/x', "-drive"],
    ["-dr\\ive file=/x", "-drive"],
    ["-pflash /x", "-pflash"],
    ["-sd /x", "-sd"],
    ["-snapshot", "-snapshot"],
    ["-readconfig /x", "-readconfig"],
    ["-device virtio-blk-pci,id=a,drive=drive-scsi0", "-device"],
    [`-device '{"driver":"scsi-hd","drive":"x"}'`, "-device"],
    ["-device vhost-user-blk-pci,chardev=c", "-device"],
  ])("%j can give it a disk: %s", (args, option) => {
    expect(diskInArgs(args)).toBe(option);
  });

  it.each([
    "",
    "-cpu host,-kvm",
    "-device virtio-rng-pci",
    "-device isa-applesmc,osk=drive=x",
    "-smbios 'type=1,serial=-drive x'",
    "-fw_cfg name=opt/x,string=-drive",
    "-device driver",
    "drive",
  ])("%j cannot", (args) => {
    expect(diskInArgs(args)).toBeUndefined();
  });

  async function start(config: Record<string, string>, settings = {}) {
    const world = new ProxmoxWorld(settings);
    await world.volume("vm-100-disk-0");
    const all = { name: "web", scsi0: "enc:vm-100-disk-0,size=4M", ...config };
    return await world.handle(world.event("pre-start", 100, all, { start: startOf() }));
  }

  const ARGS = "-drive file=/dev/sdz,if=virtio";
  const REFUSED = {
    code: "DISK_NOT_ENCRYPTED",
    message: expect.stringContaining("a disk that Luksmith cannot see, -drive in args") as string,
    hint: expect.stringContaining("qm set 100 --delete args") as string,
  };

  it("refuse a guest whose disks must all be encrypted, by its tag or by a rule", async () => {
    await expect(start({ tags: "encrypt", args: ARGS })).rejects.toMatchObject(REFUSED);
    const rules = [{ name: "web", guest: "web", encrypt: true }];
    await expect(start({ args: ARGS }, { rules })).rejects.toMatchObject(REFUSED);
  });

  it("are nobody's matter where they give it no disk, or nobody asks", async () => {
    expect(await start({ tags: "encrypt", args: "-cpu host" })).toEqual(["provide-secrets"]);
    expect(await start({ args: ARGS })).toEqual(["provide-secrets"]);
  });
});

it("the leak map has arguments for QEMU, devices and directories of the host, each once", async () => {
  const world = new ProxmoxWorld();
  const config = { args: "-drive file=/dev/sdz", hostpci0: "0000:01:00.0", virtiofs0: "dirid=x" };
  world.vm(100, config);
  const places = await world.host.dataPlaces(await world.host.readGuest("100"));
  const kinds = places
    .map(({ kind }) => kind)
    .filter((kind) => !["host-swap", "backup", "saved-memory"].includes(kind));
  expect(kinds).toEqual(["qemu-arguments", "host-device", "shared-directory"]);
});
