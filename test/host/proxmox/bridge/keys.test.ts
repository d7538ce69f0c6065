import { execFileSync, spawn } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { LuksmithError } from "../../../../src/error/luksmith-error.js";
import { perform } from "../../../../src/host/proxmox/bridge/perform.js";
import { parseKeyUuid } from "../../../../src/keystore/key-uuid.js";
import { FakeFailingKeystore } from "../../../fake/failing-keystore.js";
import { fileUsersOf } from "../../../../src/storage/block/device-users.js";
import { until } from "../../../lab/guarded-daemon.js";
import { codeOf } from "../../../storage/workshop.js";
import { BridgeWorkshop } from "./bridge-workshop.js";

let workshop: BridgeWorkshop;
beforeEach(() => {
  workshop = new BridgeWorkshop();
});
afterEach(() => workshop[Symbol.dispose]());

const passphraseOf = async (uuid = "") => {
  const key = await workshop.local.fetch(parseKeyUuid(uuid) as never);
  if (key === undefined) throw new Error("there is no such key");
  using passphrase = key.passphrase;
  return passphrase.use((bytes) => bytes.toString());
};

describe("create", () => {
  it("records whose key it is, and that it is in use", async () => {
    const directory = join(workshop.places.nodes, "pve2", "qemu-server");
    mkdirSync(directory, { recursive: true });
    writeFileSync(join(directory, "100.conf"), "cores: 2\nname: web1\n\n[old]\nname: web0\n");
    const { uuid } = await workshop.create();
    expect(await workshop.keys()).toMatchObject([
      {
        ...{ uuid, state: "active", disk: "vm-100-disk-0", profile: "default" },
        guest: { id: "100", name: "web1" },
        volume: join(workshop.directory, "vm-100-disk-0.luks"),
        createdAt: "2026-01-01T00:00:00.000Z",
      },
    ]);
  });

  it.each([1, 2, 3])("leaves no volume behind when call %i of the keystore fails", async (call) => {
    workshop.keystore = new FakeFailingKeystore(workshop.local, { call, moment: "before" });
    expect(await codeOf(workshop.create())).toBe("KEYSTORE_UNAVAILABLE");
    expect(await workshop.base.list()).toEqual([]);
    workshop.keystore = workshop.local;
    await workshop.create();
  });

  it("takes the volume and the key back when it cannot be formatted", async () => {
    workshop.runner.before = ({ tool }) => {
      if (tool === "cryptsetup")
        throw new LuksmithError("TOOL_FAILED", { what: "cryptsetup failed", why: "no memory" });
    };
    expect(await codeOf(workshop.create())).toBe("TOOL_FAILED");
    expect(await workshop.base.list()).toEqual([]);
    expect(await workshop.keys()).toEqual([]);
  });

  it.each([
    ["luksv2", { profiles: [{ name: "default", format: "luksv2" }] }, "VOLUME_UNSUPPORTED"],
    [
      "storage that is not to be formatted",
      { storage: { raw: { formatting: "never" } } },
      "VOLUME_FORMAT_FORBIDDEN",
    ],
  ])("refuses %s before anything is made", async (_, settings, code) => {
    using other = new BridgeWorkshop(undefined, settings);
    expect(await codeOf(other.create())).toBe(code);
    expect(await other.base.list()).toEqual([]);
    expect(await other.keys()).toEqual([]);
  });
});

describe("provide", () => {
  it("writes the passphrase into memory, for root alone", async () => {
    const { uuid } = await workshop.create();
    await workshop.provide();
    expect(readFileSync(workshop.secret(), "utf8")).toBe(await passphraseOf(uuid));
  });

  it("writes nothing where one key is missing", async () => {
    const { uuid = "" } = await workshop.create();
    await workshop.create("vm-100-disk-1");
    await workshop.local.delete(parseKeyUuid(uuid) as never);
    const volume = (name: string, file: string) => ({ storage: workshop.storage, volume: name, file });
    const volumes = [volume("vm-100-disk-1", "scsi1"), volume("vm-100-disk-0", "scsi0")];
    const request = { op: "provide", vmid: 100, start: "7-7-0", volumes } as const;
    expect(await codeOf(workshop.ask(request))).toBe("KEY_NOT_FOUND");
    expect(() => readdirSync(join(workshop.places.starts, "100"))).toThrow(/ENOENT/);
  });

  it.each([
    ["resize", { op: "resize", size: 16 * 1024 * 1024, running: false }],
    ["provide", undefined],
  ])("and %s: a key that was freed is no more", async (_, request) => {
    await workshop.create();
    const [record] = await workshop.keys();
    if (record === undefined) throw new Error("there is no key");
    await workshop.local.update({ ...record, freedAt: "2026-01-02T00:00:00Z", freedFrom: "x", freedBy: "y" });
    await (request === undefined ? workshop.provide() : workshop.ask(request as never));
    expect(await workshop.keys()).toEqual([record]);
  });

  it("names the guest by its name, which had none yet when the volume was made", async () => {
    await workshop.create();
    expect(await workshop.keys()).toMatchObject([{ guest: { id: "100", name: "100" } }]);
    const directory = join(workshop.places.nodes, "pve2", "qemu-server");
    mkdirSync(directory, { recursive: true });
    writeFileSync(join(directory, "100.conf"), "name: web1\n");
    await workshop.provide();
    expect(await workshop.keys()).toMatchObject([{ guest: { id: "100", name: "web1" } }]);
  });

  it("records that a key is in use which was called new, or freed", async () => {
    await workshop.create();
    const [record] = await workshop.keys();
    if (record === undefined) throw new Error("there is no key");
    await workshop.local.update({ ...record, state: "pending", freedAt: "2026-01-02T00:00:00Z" });
    await workshop.provide();
    expect(await workshop.keys()).toEqual([record]);
  });
});

describe("free", () => {
  it("marks the key, and keeps it", async () => {
    const { uuid } = await workshop.create();
    await workshop.free();
    expect(await workshop.keys()).toMatchObject([{ uuid, freedAt: "2026-01-01T00:00:00.000Z" }]);
    // and again
    await workshop.free();
    expect(workshop.warnings).toEqual([]);
  });

  it.each(["vm-100-state-before", "vm-100-fleece-0"])("deletes the key of %s at once", async (volume) => {
    await workshop.create(volume);
    await workshop.free(volume);
    expect(await workshop.keys()).toEqual([]);
  });

  it("destroys the volume while its keystore is away, and says so", async () => {
    await workshop.create();
    workshop.keystore = new FakeFailingKeystore(workshop.local, { call: 1, moment: "before" });
    await workshop.free();
    expect(await workshop.base.list()).toEqual([]);
    expect(workshop.warnings).toMatchObject([expect.stringContaining("keystore local") as string]);
  });

  it("that fails leaves the key of the volume in use", async () => {
    const { uuid } = await workshop.create();
    let locked = 0;
    workshop.runner.before = ({ tool }) => {
      // after it was seen that nobody uses the volume
      if (tool === "qemu-io" && ++locked === 2)
        throw new LuksmithError("TOOL_FAILED", { what: "qemu-io failed", why: "no memory" });
    };
    expect(await codeOf(workshop.free())).toBe("VOLUME_WRITE_FAILED");
    expect((await workshop.keys())[0]?.freedAt).toBeUndefined();
    expect(await workshop.ask({ op: "size" })).toMatchObject({ uuid });
  });

  it("that fails leaves it in use too where an earlier one was cut short", async () => {
    await workshop.create();
    const [record] = await workshop.keys();
    if (record === undefined) throw new Error("there is no key");
    await workshop.local.update({ ...record, freedAt: "2026-01-01T00:00:00Z", freedBy: "pve1" });
    let locked = 0;
    workshop.runner.before = ({ tool }) => {
      if (tool === "qemu-io" && ++locked === 2)
        throw new LuksmithError("TOOL_FAILED", { what: "qemu-io failed", why: "no memory" });
    };
    expect(await codeOf(workshop.free())).toBe("VOLUME_WRITE_FAILED");
    expect(await workshop.keys()).toEqual([record]);
    await workshop.provide();
  });

  it("that fails behind the header keeps the key marked", async () => {
    await workshop.create();
    // no file can be removed from it
    execFileSync("chattr", ["+a", workshop.directory]);
    try {
      expect(await codeOf(workshop.free())).toBe("VOLUME_WRITE_FAILED");
    } finally {
      execFileSync("chattr", ["-a", workshop.directory]);
    }
    expect((await workshop.keys())[0]?.freedAt).toBeDefined();
  });

  it("is refused while a QEMU that takes no locks has the volume open", async () => {
    await workshop.create();
    const path = join(workshop.directory, "vm-100-disk-0.luks");
    const options = `driver=file,locking=off,read-only=on,filename=${path}`;
    // no child of this process, which would not count
    const script = `sleep 30 | qemu-io -r --image-opts ${options}`;
    const guest = spawn("sh", ["-c", script], { stdio: "ignore", detached: true });
    const users = () => fileUsersOf(statSync(path, { bigint: true }));
    try {
      await until(() => expect(users()).toMatchObject([{ command: "qemu-io" }]));
      expect(await codeOf(workshop.free())).toBe("VOLUME_BUSY");
      expect(await codeOf(workshop.ask({ op: "rename", to: "vm-101-disk-0", vmid: 101 }))).toBe(
        "VOLUME_BUSY",
      );
      expect((await workshop.keys())[0]?.freedAt).toBeUndefined();
    } finally {
      process.kill(-guest.pid!, "SIGKILL");
    }
    await until(() => expect(users()).toEqual([]));
    await workshop.free();
  });

  it("leaves the key of another volume with the same header alone", async () => {
    const { uuid } = await workshop.create("base-100-disk-0");
    const bytes = readFileSync(join(workshop.directory, "base-100-disk-0.luks"));
    writeFileSync(join(workshop.directory, "vm-101-disk-0.luks"), bytes, { mode: 0o600 });
    await workshop.free("vm-101-disk-0");
    expect((await workshop.keys())[0]?.freedAt).toBeUndefined();
    expect(await workshop.ask({ op: "size", volume: "base-100-disk-0" })).toMatchObject({ uuid });
  });
});

describe("rename", () => {
  it("gives the volume's key its new guest and name too", async () => {
    const { uuid } = await workshop.create();
    await workshop.ask({ op: "rename", to: "vm-101-disk-3", vmid: 101 });
    const volume = join(workshop.directory, "vm-101-disk-3.luks");
    expect(await workshop.keys()).toMatchObject([
      { uuid, guest: { id: "101", name: "101" }, disk: "vm-101-disk-3", volume },
    ]);
    await workshop.free("vm-101-disk-3");
    expect((await workshop.keys())[0]?.freedAt).toBeDefined();
  });

  it("whose record could not be written, the key goes with the volume", async () => {
    await workshop.create();
    await workshop.base.rename("vm-100-disk-0", "vm-101-disk-0");
    await workshop.free("vm-101-disk-0");
    expect((await workshop.keys())[0]?.freedAt).toBeDefined();
  });

  it("makes a template where there are no linked clones", async () => {
    const { uuid } = await workshop.create();
    await workshop.ask({ op: "template", to: "base-100-disk-0", vmid: 100 });
    expect(await workshop.ask({ op: "size", volume: "base-100-disk-0" })).toMatchObject({ uuid });
    const clone = workshop.ask({ op: "clone", volume: "base-100-disk-0", to: "vm-101-disk-0", vmid: 101 });
    expect(await codeOf(clone)).toBe("VOLUME_UNSUPPORTED");
  });
});

describe("record-storage", () => {
  const PROFILES = { profiles: [{ name: "default" }, { name: "modern", format: "luksv2" }] };
  const record = (workshop: BridgeWorkshop, profile?: string) => {
    const storage = { ...workshop.storage, ...(profile === undefined ? {} : { profile }) };
    return perform({ version: 1, op: "record-storage", storage }, workshop.resources);
  };
  const isRecorded = (workshop: BridgeWorkshop) => existsSync(workshop.places.storagesRecord);
  /** As /etc/pve is on every node. */
  const cluster = (workshop: BridgeWorkshop) =>
    mkdirSync(join(workshop.places.nodes, "pve1"), { recursive: true });

  it.each([
    ["that is not there", "none", "PROFILE_UNKNOWN"],
    ["that QEMU cannot open", "modern", "VOLUME_UNSUPPORTED"],
  ])("refuses a profile %s", async (_, profile, code) => {
    using other = new BridgeWorkshop(undefined, PROFILES);
    cluster(other);
    await expect(record(other, profile)).rejects.toMatchObject({ code, hint: expect.any(String) as string });
    expect(isRecorded(other)).toBe(false);
  });

  it("does nothing for what is recorded so, whatever is wrong with it by now", async () => {
    using with_ = new BridgeWorkshop(undefined, { profiles: [{ name: "default" }, { name: "gone" }] });
    cluster(with_);
    await record(with_, "gone");
    expect(readdirSync(with_.directory)).toEqual([".luksmith-base"]);
    using without = new BridgeWorkshop(undefined, {}, with_.root);
    // as where there is no quorum: nothing there can be locked or made
    execFileSync("chattr", ["+i", with_.places.cluster]);
    try {
      await record(without, "gone");
      expect(without.runner.lines).toEqual([]);
    } finally {
      execFileSync("chattr", ["-i", with_.places.cluster]);
    }
    expect(await codeOf(record(without, "other"))).toBe("PROFILE_UNKNOWN");
  });
});
