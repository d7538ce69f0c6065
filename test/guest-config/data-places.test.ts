import { describe, expect, it } from "vitest";
import { BLOCK, domain, file, ID, places, placesIn, SECRET } from "./places-of-domain.js";

describe("disks", () => {
  it.each([
    [
      "an encrypted disk is none",
      `<disk type='file'><source file='/a'>${BLOCK}</source><target dev='vda'/></disk>`,
      [],
    ],
    ["an empty drive is none", "<disk type='file' device='cdrom'><target dev='sda'/></disk>", []],
    ["a plain one", file("/srv/b.img"), ["disk plaintext /srv/b.img"]],
    ["one that is only read", file("/srv/b.img", "<readonly/>"), ["disk possible /srv/b.img"]],
    ["Nova's swap", file("/i/disk.swap"), ["disk plaintext /i/disk.swap"]],
    [
      "an RBD image",
      "<disk type='network'><source protocol='rbd' name='vms/web1'/><target dev='vda'/></disk>",
      ["disk plaintext rbd:vms/web1"],
    ],
  ])("%s", (_, devices, expected) => {
    expect(places({ devices })).toEqual(expected);
  });

  it("plain layers under an encrypted overlay, and no encrypted ones", () => {
    const base = (path: string, inside = "", under = "") =>
      `<backingStore type='file'><format type='raw'/><source file='${path}'>${inside}</source>${under}</backingStore>`;
    const devices = `<disk type='file'><source file='/top'>${BLOCK}</source>${base("/mid", BLOCK, base("/base"))}<target dev='vda'/></disk>`;
    expect(places({ devices })).toEqual(["disk plaintext /base"]);
  });

  it("what a block copy writes, unless it is encrypted; a merge is none", () => {
    const disk = (job: string, inside = "") =>
      `<disk type='file'><source file='/a'>${BLOCK}</source><mirror type='file' job='${job}'><source file='/copy'>${inside}</source></mirror><target dev='vda'/></disk>`;
    expect(places({ devices: disk("copy") }, "running")).toEqual(["backup plaintext /copy"]);
    expect(places({ devices: disk("copy", BLOCK) }, "running")).toEqual(["backup encrypted /copy"]);
    expect(places({ devices: disk("active-commit") }, "running")).toEqual([]);
  });

  it("the plain file behind a transient disk", () => {
    const devices = `<disk type='file'><source file='/a'>${BLOCK}</source><target dev='vda'/><transient/></disk>`;
    expect(places({ devices })).toEqual(["disk possible "]);
  });
});

describe("what the guest boots with", () => {
  it.each([
    [
      "UEFI variables",
      { os: "<nvram template='/t'>/n/web1_VARS.fd</nvram>" },
      ["nvram plaintext /n/web1_VARS.fd"],
    ],
    [
      "with a source",
      { os: "<nvram type='block'><source dev='/dev/vg/n'/></nvram>" },
      ["nvram plaintext /dev/vg/n"],
    ],
    [
      "writable firmware",
      { os: "<loader readonly='no' type='pflash'>/fw</loader>" },
      ["nvram plaintext /fw"],
    ],
    ["ordinary firmware", { os: "<loader readonly='yes' type='pflash'>/fw</loader>" }, []],
    [
      "kernel, initrd, dtb",
      { os: "<kernel>/k</kernel><initrd>/i</initrd><cmdline>x</cmdline><dtb>/d</dtb>" },
      ["boot-files plaintext /k", "boot-files plaintext /i", "boot-files plaintext /d"],
    ],
    [
      "Ignition over fw_cfg",
      {
        more: "<sysinfo type='fwcfg'><entry name='opt/com.coreos/config' file='/x.ign'/><entry name='a'>b</entry></sysinfo>",
      },
      ["boot-files plaintext /x.ign"],
    ],
  ])("%s", (_, parts, expected) => {
    expect(places(parts)).toEqual(expected);
  });

  it("the variables of firmware that libvirt chooses", () => {
    const xml = domain({}).replace("<os>", "<os firmware='efi'>");
    expect(placesIn(xml)).toMatchObject([
      { kind: "nvram", where: "/var/lib/libvirt/qemu/nvram/web1_VARS.fd" },
    ]);
  });

  it.each([
    ["<backend type='emulator' version='2.0'/>", `tpm-state plaintext /var/lib/libvirt/swtpm/${ID}`],
    [
      `<backend type='emulator'><encryption secret='${SECRET}'/></backend>`,
      `tpm-state encrypted /var/lib/libvirt/swtpm/${ID}`,
    ],
    ["<backend type='emulator'><source type='dir' path='/tpm'/></backend>", "tpm-state plaintext /tpm"],
    ["<backend type='external'><source type='unix' path='/s'/></backend>", "tpm-state possible /s"],
    ["<backend type='passthrough'><device path='/dev/tpm1'/></backend>", "tpm-state possible /dev/tpm1"],
  ])("the TPM %s", (backend, expected) => {
    expect(places({ devices: `<tpm model='tpm-tis'>${backend}</tpm>` })).toEqual([expected]);
  });
});

describe("memory in files", () => {
  const RAM = "/var/lib/libvirt/qemu/ram";
  it.each([
    ["<memoryBacking><source type='file'/></memoryBacking>", [`memory-file plaintext ${RAM}`]],
    ["<memoryBacking><access mode='shared'/></memoryBacking>", [`memory-file plaintext ${RAM}`]],
    ["<cpu><numa><cell memAccess='shared'/></numa></cpu>", [`memory-file plaintext ${RAM}`]],
    ["<memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>", []],
    ["<memoryBacking><hugepages/><access mode='shared'/></memoryBacking>", []],
    ["<memoryBacking><source type='anonymous'/></memoryBacking>", []],
  ])("%s", (more, expected) => {
    expect(places({ more }, "running")).toEqual(expected);
    expect(places({ more })).toEqual(expected.map((line) => line.replace("plaintext", "possible")));
  });

  it.each([
    [
      { devices: "<memory model='nvdimm'><source><path>/pmem</path></source></memory>" },
      "memory-file plaintext /pmem",
    ],
    [{ devices: "<shmem name='s'><model type='ivshmem-plain'/></shmem>" }, "memory-file possible /dev/shm/s"],
    [{ more: "<on_crash>coredump-restart</on_crash>" }, "core-dump possible /var/lib/libvirt/qemu/dump"],
    [{ devices: "<watchdog model='itco' action='dump'/>" }, "core-dump possible /var/lib/libvirt/qemu/dump"],
    [{ devices: "<pstore backend='acpi-erst'><path>/p</path></pstore>" }, "core-dump plaintext /p"],
  ])("%j", (parts, expected) => {
    expect(places(parts)).toEqual([expected]);
  });

  it("memory of another kind, and crashes that nothing dumps, are none", () => {
    expect(
      places({ devices: "<memory model='dimm'><target/></memory>", more: "<on_crash>restart</on_crash>" }),
    ).toEqual([]);
  });
});

describe("devices", () => {
  it.each([
    ["<serial type='file'><source path='/s.log'/></serial>", ["console-log plaintext /s.log"]],
    ["<console type='pty'><log file='/c.log'/></console>", ["console-log plaintext /c.log"]],
    [
      "<rng model='virtio'><backend model='egd' type='tcp'><log file='/r.log'/></backend></rng>",
      ["console-log plaintext /r.log"],
    ],
    ["<console type='pty'><target type='serial'/></console>", []],
    ["<audio id='1' type='file' path='/a.wav'/>", ["console-log plaintext /a.wav"]],
    [
      "<filesystem type='mount'><source dir='/d'/><target dir='t'/></filesystem>",
      ["shared-directory plaintext /d"],
    ],
    [
      "<filesystem type='mount'><source dir='/d'/><target dir='t'/><readonly/></filesystem>",
      ["shared-directory possible /d"],
    ],
    [
      "<filesystem type='mount'><source socket='/v.sock'/><target dir='t'/></filesystem>",
      ["shared-directory possible /v.sock"],
    ],
    ["<filesystem type='ram'><source usage='1'/><target dir='t'/></filesystem>", []],
    ["<hostdev mode='subsystem' type='scsi'/>", ["host-device possible "]],
  ])("%s", (devices, expected) => {
    expect(places({ devices })).toEqual(expected);
  });

  it("arguments for QEMU itself", () => {
    expect(places({ more: "<qemu:commandline><qemu:arg value='-snapshot'/></qemu:commandline>" })).toEqual([
      "qemu-arguments possible ",
    ]);
  });
});

it("hostile names stay in one line, and in one word of a command", () => {
  const [disk] = placesIn(domain({ devices: file("/a") }), { name: "a'; rm -rf $HOME" });
  expect(disk?.hint).toBe(`encrypt it: luksmith protect 'a'\\''; rm -rf $HOME' --disk vda --convert`);
  const [drive] = placesIn(domain({ devices: file("/a") }), { name: "a'; b", label: "cidata" });
  expect(drive?.hint).toContain(`virsh detach-disk 'a'\\''; b' vda --config`);
  const devices = "<filesystem type='mount'><source dir='/d'/><target dir='a&#10;b'/></filesystem>";
  expect(placesIn(domain({ devices }))[0]?.detail).not.toContain("\n");
});

it("a disk that only the running guest has is not one to protect in the definition", () => {
  const look = { running: true, definition: "live" } as const;
  const [disk] = placesIn(domain({ devices: file("/a") }), look);
  expect(disk?.hint).toBe("attach a new encrypted disk and copy the data inside the guest");
});
