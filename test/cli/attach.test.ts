import { linkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { newDisk } from "../../src/cli/new-disk.js";
import { LuksmithError } from "../../src/error/luksmith-error.js";
import type { KeyRecord } from "../../src/generated/key-record.js";
import type { FileKeystore } from "../../src/keystore/file/file-keystore.js";
import { Secret } from "../../src/secret/secret.js";
import { FakeFailingKeystore } from "../fake/failing-keystore.js";
import { disk } from "../plan/builders.js";
import { codeOf, HotPlugWorld } from "./hot-plug-world.js";

const ENGINES = ["native", "dm-crypt"] as const;

describe.each(ENGINES)("attach and detach, %s", (engine) => {
  it("gives a running guest a new disk, and takes it away again", async () => {
    const world = new HotPlugWorld();
    const path = world.volume();
    expect(await world.attach("vdb", path, { engine })).toMatch(/web1: vdb attached\n$/);
    expect(world.host.given).toEqual([
      engine === "native" ? "a secret" : [...world.mappings.opened.keys()][0],
    ]);
    expect(await world.provided()).toEqual([engine === "native" ? "secret vdb" : "mapping vdb"]);
    expect(await world.states()).toEqual(["active"]);

    const said = await world.detach("vdb");
    expect(said).toContain("web1: vdb detached\n");
    expect(said).toMatch(
      new RegExp(`key .* and ${path} stay; to attach it again: luksmith attach web1 vdb ${path}\n$`),
    );
    expect(await world.provided()).toEqual([]);
    expect([world.host.persistent.size, world.host.live?.size]).toEqual([0, 0]);
    expect(await world.states()).toEqual(["active"]);
    expect(await codeOf(world.detach("vdb"))).toBe("DISK_NOT_FOUND");

    await world.attach("vdb", path, { engine });
    expect(await world.states()).toEqual(["active"]);
    expect(world.host.live?.has("vdb")).toBe(true);
  });

  it("keeps the disk in the configuration with --live, and gives it back from there", async () => {
    const world = new HotPlugWorld();
    await world.attach("vdb", world.volume(), { engine });
    expect(await world.detach("vdb", { live: true })).toMatch(/: luksmith attach web1 vdb\n$/);
    expect(world.host.persistent.get("vdb")?.encrypted).toBe(true);
    expect(await world.provided()).toEqual([]);
    expect(await world.detach("vdb", { live: true })).toBe("web1: vdb is detached already\n");
    expect(await world.attach("vdb")).toMatch(/web1: vdb attached\n$/);
    expect(await world.provided()).toHaveLength(1);
    expect(await world.attach("vdb")).toBe("web1: vdb is attached already\n");
  });

  it("leaves all as it was when the guest does not take the disk, but for the volume and its key", async () => {
    const world = new HotPlugWorld();
    const path = world.volume();
    world.host.failing = "attachDisk";
    expect(await codeOf(world.attach("vdb", path, { engine }))).toBe("HOST_UNAVAILABLE");
    expect(await world.provided()).toEqual([]);
    expect(world.host.persistent.size).toBe(0);
    expect(await world.states()).toEqual(["active"]);
    world.host.failing = undefined;
    await world.attach("vdb", path, { engine });
    expect(await world.states()).toEqual(["active"]);
  });

  it.each(["addDisk", "annotate"] as const)("undoes what can be undone when %s fails", async (call) => {
    const world = new HotPlugWorld();
    const path = world.volume();
    world.host.failing = call;
    expect(await codeOf(world.attach("vdb", path, { engine }))).toBe("HOST_UNAVAILABLE");
    expect([world.host.persistent.size, await world.provided()]).toEqual([0, []]);
    world.host.failing = undefined;
    expect(await world.attach("vdb", path, { engine })).toMatch(/attached\n$/);
  });

  it("goes on where a configuration was left with the disk alone", async () => {
    const world = new HotPlugWorld();
    const path = world.volume();
    await world.attach("vdb", path, { engine });
    await world.detach("vdb");
    // killed between addDisk and annotate
    world.host.persistent.set(
      "vdb",
      disk("vdb", undefined, { volume: { kind: "file", path, format: "raw" } }),
    );
    expect(await codeOf(world.attach("vdb"))).toBe("ENCRYPTION_BLOCK_LOST");
    expect(await world.attach("vdb", path, { engine })).toMatch(/attached\n$/);
    expect(await world.provided()).toHaveLength(1);
  });

  it("prepares a disk for a guest that is shut off, and says so", async () => {
    const world = new HotPlugWorld();
    world.host.live = undefined;
    const said = await world.attach("vdb", world.volume(), { engine });
    expect(said).toMatch(/web1: vdb is ready: the guest is shut off, and has it from its next start on\n$/);
    expect([await world.provided(), await world.states()]).toEqual([[], ["active"]]);
    expect(await codeOf(world.detach("vdb", { live: true }))).toBe("GUEST_NOT_RUNNING");
    await world.detach("vdb");
    expect(world.host.persistent.size).toBe(0);
  });

  it("changes nothing with --dry-run", async () => {
    const world = new HotPlugWorld();
    const path = world.volume();
    expect(await world.attach("vdb", path, { engine, dryRun: true })).toMatch(
      /^would make key .*\n.*would give disk vdb to the running guest\n$/s,
    );
    expect([world.host.calls, await world.states()]).toEqual([[], []]);
    await world.attach("vdb", path, { engine });
    const before = world.host.calls.length;
    expect(await world.detach("vdb", { dryRun: true })).toMatch(
      /^would take disk vdb from the running guest\n/,
    );
    expect([world.host.calls.length, (await world.provided()).length]).toEqual([before, 1]);
  });

  it("keeps the disk usable when the guest does not let it go", async () => {
    const world = new HotPlugWorld();
    await world.attach("vdb", world.volume(), { engine });
    world.host.failing = "detachDisk";
    expect(await codeOf(world.detach("vdb"))).toBe("HOST_UNAVAILABLE");
    expect([await world.provided(), world.host.persistent.size]).toEqual([
      [engine === "native" ? "secret vdb" : "mapping vdb"],
      1,
    ]);
  });

  it("leaves the other disks what they were opened with", async () => {
    const world = new HotPlugWorld();
    for (const dev of ["vdb", "vdc"]) await world.attach(dev, world.volume(dev), { engine });
    await world.detach("vdb");
    expect(await world.provided()).toEqual([engine === "native" ? "secret vdc" : "mapping vdc"]);
  });
});

describe("attach", () => {
  it("says that a restart brings a disk which the running guest did not take, where its configuration has it", async () => {
    const world = new HotPlugWorld();
    const path = world.volume();
    Object.assign(world.host, { failing: "attachDisk", failure: "DISK_ATTACH_FAILED" });
    const refused = { code: "DISK_ATTACH_FAILED", message: "attachDisk fails" };
    await expect(world.attach("vdb", path)).rejects.toMatchObject({ ...refused, hint: "put this right" });
    expect(world.host.persistent.size).toBe(0);
    world.host.failing = undefined;
    await world.attach("vdb", path);
    await world.detach("vdb", { live: true });
    world.host.failing = "attachDisk";
    const hint = "put this right, or restart the guest: its configuration has the disk";
    await expect(world.attach("vdb")).rejects.toMatchObject({ ...refused, hint });
  });

  it("opens a mapping that a kill has left open anew", async () => {
    const world = new HotPlugWorld();
    await world.attach("vdb", world.volume(), { engine: "dm-crypt" });
    world.host.live?.delete("vdb");
    await world.attach("vdb");
    expect(await world.provided()).toEqual(["mapping vdb"]);
  });

  it("refuses a volume that another guest has open by dm-crypt, whatever that guest's configuration says", async () => {
    const world = new HotPlugWorld();
    const path = world.volume();
    await world.attach("vdb", path, { engine: "dm-crypt" });
    const [request] = [...world.mappings.opened.values()];
    await world.detach("vdb");
    using passphrase = Secret.randomPassphrase();
    await world.mappings.open({ ...request!, guest: { id: "another", name: "web2" } }, passphrase);
    expect(await codeOf(world.attach("vdb", path))).toBe("MAPPING_BUSY");
    expect(world.host.persistent.size).toBe(0);
  });

  it("says of a mapping that is in use that it stays, and succeeds", async () => {
    const world = new HotPlugWorld();
    await world.attach("vdb", world.volume(), { engine: "dm-crypt" });
    for (const name of world.mappings.opened.keys()) world.mappings.busy.add(name);
    expect(await world.detach("vdb")).toContain("vdb detached");
    expect(world.logger.warnings.map(({ message }) => message)).toEqual([
      expect.stringContaining("luksmith reap"),
    ]);
    world.mappings.busy.clear();
    // what is left of it can be asked for again
    await world.detach("vdb");
    expect(await world.provided()).toEqual([]);
  });

  it.each<[string, (path: string, other: string) => string]>([
    ["by the same name", (path) => path],
    ["by another one", (path, other) => (linkSync(path, other), other)],
  ])("refuses a volume that the guest has under another device name, %s", async (_, name) => {
    const world = new HotPlugWorld();
    const path = world.volume();
    await world.attach("vdb", path);
    expect(await codeOf(world.attach("vdc", name(path, `${path}.other`)))).toBe("VOLUME_BUSY");
    expect(await codeOf(world.attach("vdb", world.volume("another.img")))).toBe("DISK_EXISTS");
    expect(await world.attach("vdb", path)).toBe("web1: vdb is attached already\n");
  });

  it("leaves to protect who decrypts a disk of the configuration", async () => {
    const world = new HotPlugWorld();
    const path = world.volume();
    await world.attach("vdb", path);
    await expect(world.attach("vdb", path, { engine: "dm-crypt" })).rejects.toMatchObject({
      code: "DISK_EXISTS",
      hint: expect.stringContaining("luksmith protect web1 --disk vdb --engine dm-crypt") as string,
    });
    expect(await codeOf(world.attach("vdb", path, { engine: "native" }))).toBe("done");
  });

  it("gives the guest no copy of a key that does not open the disk any more", async () => {
    const world = new HotPlugWorld();
    await world.attach("vdb", world.volume(), { engine: "native" });
    await world.detach("vdb", { live: true });
    const [record] = await world.keystore.list();
    const away = () => Promise.reject(new LuksmithError("KEYSTORE_UNAVAILABLE", { what: "it is away" }));
    world.seen = (real) => Object.assign(Object.create(real) as FileKeystore, { fetch: away });
    const nothing = () => Promise.resolve();
    world.cache = {
      ...{ gaveOut: nothing, refused: nothing, settled: nothing },
      lookUp: () => {
        const key = { record: record!, passphrase: Secret.randomPassphrase() };
        return Promise.resolve({ key, keystore: "local", since: new Date(0) });
      },
    };
    await expect(world.attach("vdb")).rejects.toMatchObject({
      code: "PASSPHRASE_REJECTED",
      message: expect.stringMatching(/^cannot attach a disk to guest web1: the copy of key/) as string,
    });
    expect(await world.provided()).toEqual([]);
  });

  it("refuses what a rule says not to encrypt", async () => {
    const world = new HotPlugWorld({ rules: [{ name: "scratch", storage: "*", encrypt: false }] });
    expect(await codeOf(world.attach("vdb", world.volume()))).toBe("REQUEST_CONFLICT");
  });

  it("never gives a guest a disk of its configuration that is not encrypted", async () => {
    const world = new HotPlugWorld();
    const path = world.volume();
    world.host.persistent.set(
      "vdb",
      disk("vdb", undefined, { volume: { kind: "file", path, format: "raw" } }),
    );
    expect(await codeOf(world.attach("vdb"))).toBe("DISK_NOT_ENCRYPTED");
    expect(await codeOf(world.attach("vdb", path))).toBe("DISK_NOT_ENCRYPTED");
    expect(world.host.calls).toEqual([]);
  });

  it("refuses a volume that holds data, and leaves it as it is", async () => {
    const world = new HotPlugWorld();
    const path = join(world.directory, "full.img");
    writeFileSync(path, "x".repeat(1024 * 1024));
    expect(await codeOf(world.attach("vdb", path))).toBe("VOLUME_NOT_EMPTY");
    expect([world.host.calls, await world.states()]).toEqual([[], []]);
  });

  it.each(["before", "after"] as const)(
    "goes on when the keystore is lost at any call, %s it",
    async (moment) => {
      for (let call = 1, isLost = true; isLost; call++) {
        const world = new HotPlugWorld();
        const path = world.volume();
        world.seen = (real) => new FakeFailingKeystore(real, { call, moment });
        const code = await codeOf(world.attach("vdb", path));
        isLost = code !== "done";
        if (!isLost) expect(call).toBeGreaterThan(3);
        else expect([call, code, world.host.calls]).toEqual([call, "KEYSTORE_UNAVAILABLE", []]);
        expect(await world.provided()).toHaveLength(isLost ? 0 : 1);
        world.seen = (real) => real;
        expect(await codeOf(world.attach("vdb", path))).toBe("done");
        expect(await world.states()).toEqual(["active"]);
      }
    },
  );

  it("speaks of what it does, and not of a start", async () => {
    const world = new HotPlugWorld();
    await world.attach("vdb", world.volume());
    await world.detach("vdb", { live: true });
    const [record] = (await world.keystore.list()) as [KeyRecord];
    writeFileSync(record.volume, Buffer.alloc(8 * 1024 * 1024));
    await expect(world.attach("vdb")).rejects.toThrow(
      /^cannot attach a disk to guest web1: disk vdb has lost its LUKS header$/,
    );
  });

  it("has no disk of a hostile name", async () => {
    const world = new HotPlugWorld();
    world.host.persistent.set("vda", disk("vda", 1));
    for (const dev of ["constructor", "__proto__", "vdb\n", "--help", "a'b"])
      expect(await codeOf(world.attach(dev))).toBe("DISK_NOT_FOUND");
  });
});

describe("a new disk on the command line", () => {
  const usage = expect.objectContaining({ code: "USAGE" }) as Error;

  it.each(["", "vd", "vdB", "vdb1", "vdb\n", "vdb'", "../vdb", "nvme0", "constructor"])(
    "has no name %j",
    (dev) => {
      expect(() => newDisk(dev, "/srv/a.img", {})).toThrow(usage);
    },
  );

  it.each([
    "",
    "a.img",
    "/",
    "/srv/",
    "/srv/../etc/shadow",
    "/srv/./a",
    "//srv/a",
    "/srv/a\nb",
    "rbd:a",
    "rbd:a/b@c",
  ])("lies on no volume %j", (volume) => {
    expect(() => newDisk("vdb", volume, {})).toThrow(usage);
  });

  it.each<[string, object]>([
    ["/srv/a b'\"$(x).img", { kind: "file", format: "raw" }],
    ["/dev/vg/none", { kind: "block", format: "raw" }],
    ["rbd:vms/a b", { kind: "rbd", pool: "vms", image: "a b" }],
  ])("lies on %s", (name, volume) => {
    expect(newDisk("sdb", name, {})).toMatchObject({ dev: "sdb", bus: "scsi", volume });
    expect(newDisk("vdb", name, { bus: "sata" })?.bus).toBe("sata");
  });

  it("has an image format only where it can", () => {
    expect(newDisk("vdb", "/srv/a", { format: "qcow2" })?.volume).toMatchObject({ format: "qcow2" });
    for (const work of [
      () => newDisk("vdb", "rbd:vms/a", { format: "qcow2" }),
      () => newDisk("vdb", undefined, { format: "qcow2" }),
      () => newDisk("vdb", undefined, { bus: "scsi" }),
      () => newDisk("vdb", undefined, { engine: "auto" }),
      () => newDisk("vdb", undefined, { profile: "p" }),
    ])
      expect(work).toThrow(usage);
  });
});
