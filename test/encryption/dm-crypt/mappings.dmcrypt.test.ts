import { execa } from "execa";
import { once } from "node:events";
import { closeSync, existsSync, openSync, readFileSync, rmSync, statSync, truncateSync } from "node:fs";
import { setTimeout } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { DmCryptMappings } from "../../../src/encryption/dm-crypt/dm-crypt-mappings.js";
import { ExecaCommandRunner } from "../../../src/exec/command-runner.js";
import { newKeyUuid } from "../../../src/keystore/key-uuid.js";
import { Secret } from "../../../src/secret/secret.js";
import { codeOf } from "../../storage/workshop.js";
import { LoopDevice } from "../../lab/loop-device.js";
import { lvm, VolumeGroup } from "../../lab/volume-group.js";
import { loops, mapper, MappingLab, mappingNames, MIB, read, SIZE, write } from "./mapping-lab.js";

let lab: MappingLab;
beforeEach(() => {
  lab = new MappingLab();
});
afterEach(() => lab[Symbol.dispose]());

/** Refused with this code, and nothing is left of the try. */
async function expectRefused(opening: Promise<void>, code: string): Promise<void> {
  const before = { mappings: mappingNames(), loops: loops(), claims: lab.claimFiles() };
  expect(await codeOf(opening)).toBe(code);
  expect({ mappings: mappingNames(), loops: loops(), claims: lab.claimFiles() }).toEqual(before);
}

describe.each([
  ["file", "luks"],
  ["file", "luksv2"],
  ["block", "luks"],
  ["block", "luksv2"],
  ["block", "plain"],
] as const)("a mapping of a %s with %s", (kind, format) => {
  it("is there with what was written to it, each time it is opened, and gone when it is closed", async () => {
    const request = lab.make(kind, format);
    const { name, volume } = request;
    const loopsBefore = loops();

    await lab.open(request);
    expect(mappingNames()).toEqual([name]);
    write(mapper(name), "plain text");
    expect(await lab.mappings.close(name)).toEqual({ kind: "closed" });

    expect(mappingNames()).toEqual([]);
    expect(lab.claimFiles()).toEqual([]);
    expect(loops()).toEqual(loopsBefore);
    expect(readFileSync(volume.path).includes("plain text")).toBe(false);
    await lab.open(request);
    expect(read(mapper(name), 10)).toBe("plain text");
    await lab.mappings.close(name);
  });
});

describe("opening", () => {
  it.each(["luks", "luksv2", "plain"] as const)(
    "knows its mapping of %s by the longest name",
    async (format) => {
      const name = `luksmith-${"n".repeat(118)}`;
      const request = lab.make("block", format, { name });
      await lab.open(request);
      await lab.open(request);
      expect(await lab.mappings.close(name)).toEqual({ kind: "closed" });
      expect(mappingNames()).toEqual([]);
    },
  );

  it("makes one through which nobody can write, where that is asked for", async () => {
    const request = lab.make("file", "luks");
    await lab.open({ ...request, access: "read" });
    expect(() => write(mapper(request.name), "plain text")).toThrow(/EPERM|EROFS|EACCES/);
    await lab.open(request);
    write(mapper(request.name), "plain text");
  });

  it("writes the claim first, that only root can read", async () => {
    const request = lab.make("block", "luks");
    const { name, guest, disk, uuid, volume } = request;
    const claim = { name, guest, disk, uuid, volume: volume.path, format: "luks" };
    lab.runner.before = ({ args }) => {
      if (args[0] === "open") expect(lab.mappings.claims()).toMatchObject([claim]);
    };

    await lab.open(request);

    expect(lab.mappings.claims(guest.id)).toMatchObject([claim]);
    expect(lab.mappings.claims("another")).toEqual([]);
    const { claims } = lab.places;
    expect([claims, `${claims}/${name}`].map((path) => statSync(path).mode & 0o777)).toEqual([0o700, 0o600]);
  });

  it("tells cryptsetup neither the passphrase nor a path that could be swapped", async () => {
    const request = lab.make("file", "luksv2");
    await lab.open(request);
    const lines = lab.runner.lines.filter((line) => line.startsWith("cryptsetup"));
    expect(lines).toEqual([
      "cryptsetup luksUUID -- /proc/self/fd/3",
      `cryptsetup open --batch-mode --type luks2 --key-file /proc/self/fd/5 -- /proc/self/fd/3 ${request.name}`,
    ]);
  });

  it.each(["file", "block"] as const)("refuses a wrong passphrase on a %s", async (kind) => {
    const request = lab.make(kind, "luks");
    using other = Secret.randomPassphrase();
    await expectRefused(lab.mappings.open(request, other), "PASSPHRASE_REJECTED");
  });

  it.each(["file", "block"] as const)("refuses a %s without a LUKS header", async (kind) => {
    const volume = kind === "file" ? lab.makeFile() : lab.makeDevice();
    await expectRefused(lab.open(lab.requestFor(volume, "luks")), "VOLUME_NOT_FORMATTED");
  });

  it.each(["luks", "luksv2"] as const)(
    "refuses a header of another key before there is a mapping, though the passphrase opens it: %s",
    async (format) => {
      const { volume } = lab.make("block", format);
      await expectRefused(lab.open(lab.requestFor(volume, format)), "LUKS_UUID_MISMATCH");
      expect(lab.runner.count("cryptsetup open")).toBe(0);
    },
  );

  it("refuses a header of another key that came at the last moment", async () => {
    const request = lab.make("block", "luks");
    lab.runner.before = ({ args }) => {
      if (args[0] === "open") lab.format({ ...request, uuid: newKeyUuid() });
    };
    await expectRefused(lab.open(request), "LUKS_UUID_MISMATCH");
    expect(lab.runner.count("cryptsetup open")).toBe(1);
  });

  it("refuses a header of the other version", async () => {
    const { volume, uuid } = lab.make("block", "luksv2");
    await expectRefused(lab.open(lab.requestFor(volume, "luks", { uuid })), "TOOL_FAILED");
  });

  it("refuses a volume that is absent, or of another sort", async () => {
    const request = lab.make("file", "luks");
    const { path } = request.volume;
    const device = { ...request, volume: { kind: "block", path, format: "raw" } as const };
    await expectRefused(lab.open(device), "VOLUME_UNREADABLE");
    rmSync(path);
    await expectRefused(lab.open(request), "VOLUME_NOT_FOUND");
  });

  it.each(["file", "block"] as const)("opens a %s for one mapping alone", async (kind) => {
    const first = lab.make(kind, "luks");
    const second = { ...first, name: "luksmith-second", guest: { id: "2", name: "web2" } };
    await lab.open(first);
    await expectRefused(lab.open(second), "VOLUME_BUSY");
  });

  it("opens one file for one of two that come at once under different names", async () => {
    const first = lab.make("file", "luks");
    const second = { ...first, name: "luksmith-second", guest: { id: "2", name: "web2" } };
    const endings = await Promise.allSettled([first, second].map((request) => lab.open(request)));
    const rejected = endings.filter((ending) => ending.status === "rejected");
    expect(rejected).toMatchObject([{ reason: { code: "VOLUME_BUSY" } }]);
    expect(mappingNames()).toHaveLength(1);
    expect(loops()).toHaveLength(1);
    expect(lab.claimFiles()).toEqual(mappingNames());
  });

  it("refuses a mounted device, and one that another device is made of", async () => {
    using loop = new LoopDevice(64 * MIB);
    using group = new VolumeGroup({ device: loop.path });
    group.create("some", MIB);
    const volume = { kind: "block", path: loop.path, format: "raw" } as const;
    await expectRefused(lab.open(lab.requestFor(volume, "plain")), "VOLUME_BUSY");
  });

  it.each(["file", "block"] as const)(
    "refuses a %s to which a running QEMU may write, and takes it afterwards",
    async (kind) => {
      using group = new VolumeGroup();
      const volume =
        kind === "file"
          ? lab.makeFile()
          : ({ kind, path: group.create("vm1", SIZE), format: "raw" } as const);
      const request = lab.make(kind, "luks", { volume });
      // no child of this process, which may have its own volumes open
      const grandchild = ["-c", 'qemu-io -f raw "$1"; exit', "sh", volume.path];
      const qemu = execa("sh", grandchild, { stdin: "pipe", reject: false });
      qemu.stdin.write("read 0 512\n");
      await once(qemu.stdout, "data");

      await expectRefused(lab.open(request), "VOLUME_BUSY");

      qemu.stdin.end();
      await qemu;
      await lab.open(request);
      expect(await lab.mappings.close(request.name)).toEqual({ kind: "closed" });
    },
  );

  it("is done by one of two processes after the other", async () => {
    const request = lab.make("file", "luks");
    await Promise.all([lab.open(request), lab.open(request), lab.open(request)]);
    expect(mappingNames()).toEqual([request.name]);
    expect(loops()).toHaveLength(1);
  });
});

describe("a mapping that is there already", () => {
  it("is opened anew if an earlier start of the guest left it, also with what an earlier volume was", async () => {
    const request = lab.make("block", "luks");
    await lab.open(request);
    const volume = lab.makeDevice();
    const moved = { ...request, volume };
    lab.format(moved);

    await lab.open(moved);

    write(mapper(request.name), "plain text");
    await lab.mappings.close(request.name);
    await lab.open(moved);
    expect(read(mapper(request.name), 10)).toBe("plain text");
    expect(lab.mappings.claims()).toMatchObject([{ volume: volume.path }]);
  });

  it("is left alone if luksmith has not opened it, and nothing is claimed", async () => {
    const request = lab.make("block", "luks");
    lab.openForeign(request.name, lab.makeDevice().path);
    await expectRefused(lab.open(request), "MAPPING_FOREIGN");
    expect(await lab.mappings.close(request.name)).toEqual({ kind: "closed" });
    expect(mappingNames()).toEqual([request.name]);
  });

  it("is left alone if somebody made it at the same moment", async () => {
    const request = lab.make("block", "luks");
    const other = lab.makeDevice();
    lab.runner.before = ({ args }) => {
      if (args[0] === "open") lab.openForeign(request.name, other.path);
    };
    expect(await codeOf(lab.open(request))).toBe("MAPPING_FOREIGN");
    expect(mappingNames()).toEqual([request.name]);
    expect(lab.claimFiles()).toEqual([]);
  });

  it("is left alone if it is none that was opened for the claim, which is remembered until it is gone", async () => {
    const request = lab.make("block", "luks");
    await lab.open(request);
    lab.closeElsewhere(request.name);
    lab.openForeign("luksmith-other", lab.makeDevice().path);
    lab.rename("luksmith-other", request.name);

    await expectRefused(lab.open(request), "MAPPING_FOREIGN");
    const left = { kind: "busy", why: expect.stringContaining("not opened for this disk") as string };
    expect(await lab.mappings.close(request.name)).toEqual(left);

    expect(mappingNames()).toEqual([request.name]);
    expect(lab.claimFiles()).toEqual([request.name]);
    lab.closeElsewhere(request.name);
    expect(await lab.mappings.close(request.name)).toEqual({ kind: "closed" });
    expect(lab.claimFiles()).toEqual([]);
  });

  it("is left alone with a claim for a header if it is one of plain dm-crypt", async () => {
    const request = lab.make("block", "luks", { name: "vm1-dmcrypt" });
    await lab.open(request);
    lab.closeElsewhere(request.name);
    lab.openForeign(request.name, request.volume.path);
    expect(await lab.mappings.close(request.name)).toMatchObject({ kind: "busy" });
    expect(mappingNames()).toEqual([request.name]);
  });

  it("is refused to another disk, and to another key, of the same guest", async () => {
    const request = lab.make("block", "plain");
    await lab.open(request);
    const volume = lab.makeDevice();
    await expectRefused(lab.open({ ...request, volume, disk: "vdb" }), "MAPPING_FOREIGN");
    await expectRefused(lab.open({ ...request, volume, uuid: newKeyUuid() }), "MAPPING_FOREIGN");
  });

  it("is refused to another guest, which cannot close it either", async () => {
    const request = lab.make("block", "luks");
    await lab.open(request);
    const other = { ...request, guest: { id: "2", name: "web2" } };
    await expectRefused(lab.open(other), "MAPPING_FOREIGN");
    expect(await lab.mappings.close(request.name, other.guest)).toEqual({ kind: "closed" });
    expect(mappingNames()).toEqual([request.name]);
    expect(lab.mappings.claims("2")).toEqual([]);
  });

  it("is waited for while somebody looks at it", async () => {
    const request = lab.make("block", "luks");
    await lab.open(request);
    const fd = openSync(mapper(request.name), "r");
    const letGo = setTimeout(800).then(() => closeSync(fd));
    expect(await lab.mappings.close(request.name)).toEqual({ kind: "closed" });
    await letGo;
    expect(mappingNames()).toEqual([]);
  });

  it("cannot be opened anew while somebody has it open, who is named", async () => {
    const request = lab.make("block", "luks");
    await lab.open(request);
    using above = lab.lineOver(mapper(request.name));
    const refused = lab.open(request);
    await expect(refused).rejects.toMatchObject({
      code: "MAPPING_BUSY",
      why: `device ${above.name} is made of it`,
    });
    expect(lab.mappings.claims()).toHaveLength(1);
  });
});

describe("closing", () => {
  it("leaves what a start opened that came while it waited for its turn", async () => {
    const request = lab.make("block", "luks");
    await lab.open(request);
    const start = new DmCryptMappings(new ExecaCommandRunner(), lab.places);
    lab.runner.before = async () => {
      lab.runner.before = () => undefined;
      await start.open(request, lab.passphrase);
    };
    expect(await lab.mappings.close(request.name, lab.guest)).toEqual({ kind: "closed" });
    expect([mappingNames(), lab.claimFiles()]).toEqual([[request.name], [request.name]]);
    expect(await lab.mappings.close(request.name, lab.guest)).toEqual({ kind: "closed" });
    expect([mappingNames(), lab.claimFiles()]).toEqual([[], []]);
  });

  it("is success for what is closed already, whoever did it", async () => {
    const request = lab.make("file", "luks");
    expect(await lab.mappings.close(request.name)).toEqual({ kind: "closed" });
    await lab.open(request);
    lab.closeElsewhere(request.name);
    expect(await lab.mappings.close(request.name)).toEqual({ kind: "closed" });
    expect(lab.claimFiles()).toEqual([]);
    expect(loops()).toEqual([]);
  });

  it("starts no process for what was never claimed", async () => {
    expect(await lab.mappings.close("luksmith-vm1-dmcrypt")).toEqual({ kind: "closed" });
    expect(lab.runner.commands).toEqual([]);
    expect(existsSync(lab.places.locks)).toBe(false);
  });

  it.each(["file", "block"] as const)(
    "is left to the last user of a busy %s, and remembered",
    async (kind) => {
      const request = lab.make(kind, "luks");
      await lab.open(request);
      const fd = openSync(mapper(request.name), "r");
      const began = performance.now();

      expect(await lab.mappings.close(request.name)).toEqual({ kind: "busy" });

      expect(performance.now() - began).toBeGreaterThan(2500);
      expect(lab.mappings.claims()).toMatchObject([{ name: request.name }]);
      closeSync(fd);
      await expect.poll(() => [...mappingNames(), ...loops()].length).toBe(kind === "file" ? 0 : 1);
      expect(await lab.mappings.close(request.name)).toEqual({ kind: "closed" });
      expect(lab.claimFiles()).toEqual([]);
      await lab.open(request);
    },
  );
});

it.each([
  "../../etc/passwd",
  "a/b",
  "..",
  "control",
  "-dmcrypt",
  "vg-root",
  "luksmith-",
  "luksmith-a b",
  `luksmith-${"n".repeat(119)}`,
])("gives no mapping the name %j", async (name) => {
  const request = lab.make("block", "luks", { name });
  await expectRefused(lab.open(request), "MAPPING_FOREIGN");
  expect(await lab.mappings.close(name)).toEqual({ kind: "closed" });
  expect(lab.runner.commands).toEqual([]);
});

describe("resizing", () => {
  it.each([
    ["file", "luks"],
    ["file", "luksv2"],
  ] as const)("gives a mapping all of its %s with %s", async (kind, format) => {
    const request = lab.make(kind, format);
    await lab.open(request);
    expect(lab.sizeOf(request.name)).toBe(SIZE - 2 * MIB);
    truncateSync(request.volume.path, 2 * SIZE);

    await lab.mappings.resize(request.name, lab.passphrase);

    expect(lab.sizeOf(request.name)).toBe(2 * SIZE - 2 * MIB);
  });

  it.each(["luks", "luksv2", "plain"] as const)(
    "gives a mapping all of its logical volume with %s",
    async (format) => {
      using group = new VolumeGroup();
      const volume = { kind: "block", path: group.create("vm1", SIZE), format: "raw" } as const;
      const request = lab.make("block", format, { volume });
      const payload = format === "plain" ? 0 : 2 * MIB;
      await lab.open(request);
      lvm("lvextend", "--quiet", "--size", `${2 * SIZE}b`, `${group.name}/vm1`);

      await lab.mappings.resize(request.name, lab.passphrase);

      expect(lab.sizeOf(request.name)).toBe(2 * SIZE - payload);
      await lab.mappings.close(request.name);
    },
  );

  it("refuses what luksmith has not opened, and a wrong passphrase where one is needed", async () => {
    const request = lab.make("block", "luksv2");
    const resizing = (passphrase: Secret) => codeOf(lab.mappings.resize(request.name, passphrase));
    expect(await resizing(lab.passphrase)).toBe("VOLUME_GROW_FAILED");
    await lab.open(request);
    using other = Secret.randomPassphrase();
    expect(await resizing(other)).toBe("VOLUME_GROW_FAILED");
  });
});
