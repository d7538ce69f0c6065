import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { statSync, writeFileSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { UNIT } from "../../../src/convert/in-place/geometry.js";
import { asLuksmithError, LuksmithError } from "../../../src/error/luksmith-error.js";
import { newKeyUuid } from "../../../src/keystore/key-uuid.js";
import { VolumeFile } from "../../../src/storage/volume-file.js";
import { FakeFailingKeystore } from "../../fake/failing-keystore.js";
import { InPlaceWorld } from "./in-place-world.js";

const MIB = 1024 * 1024;
const GAP = 2 * MIB;

vi.setConfig({ testTimeout: 300_000 });

let world: InPlaceWorld;

beforeEach(() => {
  world = new InPlaceWorld(3 * MIB + 512);
});
afterEach(() => {
  vi.restoreAllMocks();
  world[Symbol.dispose]();
});

function otherWorld(size: number): InPlaceWorld {
  world[Symbol.dispose]();
  return (world = new InPlaceWorld(size));
}

/** All is encrypted, once, with nothing left. */
async function expectEncrypted(when = ""): Promise<void> {
  const keys = await world.keystore.list();
  expect(keys, when).toHaveLength(1);
  expect(keys[0], when).toMatchObject({ state: "active", disk: "vda", volume: world.path });
  expect(keys[0], when).not.toHaveProperty("conversion");
  expect((await world.guestSees()).subarray(0, world.plain.length).equals(world.plain), when).toBe(true);
  expect(world.bytes().indexOf("LUKSMITH MOVING"), when).toBe(-1);
  expect(world.journals(), when).toEqual([]);
}

async function expectPlain(when = ""): Promise<void> {
  expect((await world.host.readGuest()).disks.mapping["vda"]?.encrypted, when).toBe(false);
  expect(world.bytes().subarray(0, world.plain.length).equals(world.plain), when).toBe(true);
  expect(world.journals(), when).toEqual([]);
}

/** Nothing was changed. */
async function expectUntouched(when = ""): Promise<void> {
  expect(world.bytes().equals(world.plain), when).toBe(true);
  await expectPlain(when);
  expect(await world.keystore.list(), when).toEqual([]);
}

describe("a conversion in place", () => {
  it.each([1, 513, GAP, GAP + 512, 5 * UNIT - 1])(
    "encrypts a disk of %i bytes, and decrypts it again",
    async (size) => {
      otherWorld(size);
      await world.convert("encrypted");
      await expectEncrypted();
      const sectors = 512 * Math.ceil(size / 512);
      expect(statSync(world.path).size).toBe(sectors + GAP);
      const header = world.bytes().subarray(0, GAP);
      // no plaintext is left under the header
      expect(header.subarray(UNIT).every((byte) => byte === 0)).toBe(true);
      await world.convert("plain");
      await expectPlain();
      expect(statSync(world.path).size).toBe(sectors);
      expect((await world.keystore.list())[0]).not.toHaveProperty("conversion");
    },
  );

  it("tells how far it is, and says nothing secret to any program", async () => {
    await world.convert("encrypted");
    expect(world.percents.at(-1)).toBe(100);
    const [record] = await world.keystore.list();
    const key = await world.keystore.fetch(record!.uuid as never);
    using passphrase = key!.passphrase;
    const text = passphrase.use((bytes) => bytes.toString());
    expect(world.runner.lines.join("\n")).not.toContain(text);
  });

  it("changes nothing in a dry run", async () => {
    await world.convert("encrypted", { manner: "dry-run" });
    await expectUntouched();
    expect(world.said.at(-1)).toBe(`would encrypt ${world.path} in place`);
    expect(world.said).toContainEqual(
      expect.stringMatching(/would make a key for disk vda .*keystore local/),
    );
    expect(world.said).toContainEqual(expect.stringMatching(/by 2 MiB; it takes 2 MiB more of \S+ \S+ that/));
  });

  it("keeps to the rate", async () => {
    const begun = Date.now();
    await world.convert("encrypted", { rate: BigInt(2 * MIB) });
    expect(Date.now() - begun).toBeGreaterThan(1500);
    await expectEncrypted();
  });
});

/** Lets the n-th change of the volume fail; of a write, a part is done. */
function failAt(number: number): { calls: number } {
  const count = { calls: 0 };
  const real = Object.getOwnPropertyDescriptors(VolumeFile.prototype);
  const fail = () => ++count.calls >= number;
  const failed = () => new LuksmithError("VOLUME_WRITE_FAILED", { what: "the disk is gone" });
  vi.spyOn(VolumeFile.prototype, "write").mockImplementation(async function (
    this: VolumeFile,
    offset,
    bytes,
  ) {
    if (!fail()) {
      await real.write.value?.call(this, offset, bytes);
      return;
    }
    if (count.calls === number)
      await real.write.value?.call(this, offset, bytes.subarray(0, bytes.length / 2));
    throw failed();
  });
  vi.spyOn(VolumeFile.prototype, "syncData").mockImplementation(async function (this: VolumeFile) {
    if (fail()) throw failed();
    await real.syncData.value?.call(this);
  });
  vi.spyOn(VolumeFile.prototype, "extend").mockImplementation(async function (this: VolumeFile, size) {
    if (fail()) throw failed();
    await real.extend.value?.call(this, size);
  });
  return count;
}

async function changesOf(to: "encrypted" | "plain"): Promise<number> {
  const count = failAt(Infinity);
  await world.convert(to);
  vi.restoreAllMocks();
  return count.calls;
}

describe.each(["with", "without"] as const)(
  "a volume that fails at any change, and goes on %s the journal",
  (journal) => {
    it.each(["encrypted", "plain"] as const)("is %s by the next call", async (to) => {
      otherWorld(UNIT + 512);
      if (to === "plain") await world.convert("encrypted");
      const changes = await changesOf(to);
      expect(changes).toBeGreaterThan(8);
      for (let number = 1; number <= changes; number += journal === "with" ? 2 : 5) {
        const when = `change ${number} of ${changes}`;
        otherWorld(UNIT + 512);
        if (to === "plain") await world.convert("encrypted");
        failAt(number);
        expect(await world.failure(to), when).toBe("VOLUME_WRITE_FAILED");
        vi.restoreAllMocks();
        if (journal === "without") world.forgetHost();
        await world.convert(to);
        if (to === "encrypted") await expectEncrypted(when);
        else await expectPlain(when);
      }
    });
  },
);

describe("a keystore that dies at any call", () => {
  it.each(["encrypted", "plain"] as const)("leaves a disk that is %s by the next call", async (to) => {
    for (const moment of ["before", "after"] as const) {
      for (let call = 1; ; call++) {
        const when = `${moment} call ${call}`;
        otherWorld(4096);
        if (to === "plain") await world.convert("encrypted");
        const dying = new FakeFailingKeystore(world.keystore, { call, moment });
        world.kept = dying;
        const code = await world.failure(to);
        if (dying.calls < call) break;
        expect(code, when).not.toMatch(/INTERNAL|none/);
        world.kept = world.keystore;
        await world.convert(to);
        if (to === "encrypted") await expectEncrypted(when);
        else await expectPlain(when);
      }
    }
  });
});

describe("it refuses, and changes nothing:", () => {
  it("a guest that runs", async () => {
    world.host.running = true;
    expect(await world.failure("encrypted")).toBe("GUEST_RUNNING");
    await expectUntouched();
  });

  it("a volume that a QEMU has open", async () => {
    const qemu = spawn("qemu-io", ["-f", "raw", world.path], { stdio: ["pipe", "pipe", "ignore"] });
    await once(qemu.stdout, "data");
    try {
      expect(await world.failure("encrypted")).toBe("VOLUME_BUSY");
    } finally {
      qemu.kill("SIGKILL");
      await once(qemu, "exit");
    }
    await expectUntouched();
  });

  it("a volume that another disk has too, and a key that another disk has", async () => {
    const { xml } = world.host;
    const attach = (source: string) => {
      const other = `<disk type='file' device='disk'><driver name='qemu' type='raw'/>${source}<target dev='vdb' bus='virtio'/></disk>`;
      world.host.xml = world.host.xml.replace("</devices>", `${other}</devices>`);
    };
    attach(`<source file='${world.path}'/>`);
    expect(await world.failure("encrypted")).toBe("VOLUME_BUSY");
    await expectUntouched();

    world.host.xml = xml;
    await world.convert("encrypted");
    const [block] = /<encryption.*<\/encryption>/s.exec(world.host.xml)!;
    const before = world.bytes();
    attach(`<source file='${world.at("copy.raw")}'>${block}</source>`);
    const thrown = asLuksmithError(await world.convert("plain").catch((error: unknown) => error));
    expect(thrown).toMatchObject({ code: "KEY_IN_USE" });
    expect(thrown.message).toContain("disk vdb of guest web1 has the same key");
    expect(world.bytes().equals(before)).toBe(true);
  });

  it("a volume that has no room to grow", async () => {
    vi.spyOn(VolumeFile.prototype, "extend").mockRejectedValue(
      new LuksmithError("VOLUME_GROW_FAILED", { what: "no space left on device" }),
    );
    expect(await world.failure("encrypted")).toBe("VOLUME_GROW_FAILED");
    vi.restoreAllMocks();
    await expectUntouched();
  });

  it("an audit log that cannot be written", async () => {
    world.audit.failure = new LuksmithError("AUDIT_UNWRITABLE", { what: "no room" });
    expect(await world.failure("encrypted")).toBe("AUDIT_UNWRITABLE");
    await expectUntouched();
  });

  it("an image format other than raw", async () => {
    world.host.xml = world.host.xml.replace("type='raw'", "type='qcow2'");
    expect(await world.failure("encrypted")).toBe("VOLUME_UNSUPPORTED");
    expect(await world.keystore.list()).toEqual([]);
  });
});

it("does not decrypt a volume whose header is another key's: a copy that was half separated", async () => {
  await world.convert("encrypted");
  const other = newKeyUuid();
  const image = world.bytes();
  // where a LUKS1 header has its UUID
  image.write(other, 168, "latin1");
  writeFileSync(world.path, image);

  const thrown = asLuksmithError(await world.convert("plain").catch((error: unknown) => error));
  expect(thrown).toMatchObject({ code: "LUKS_UUID_MISMATCH", why: `its header is of key ${other}` });
  expect(thrown.hint).toContain("luksmith separate web1 vda");
  expect(world.bytes().equals(image)).toBe(true);
  expect((await world.keystore.list())[0]).not.toHaveProperty("conversion");
});

describe("a conversion that was cut short", () => {
  async function cutShort(to: "encrypted" | "plain"): Promise<void> {
    if (to === "plain") await world.convert("encrypted");
    failAt(16);
    expect(await world.failure(to)).toBe("VOLUME_WRITE_FAILED");
    vi.restoreAllMocks();
  }

  it.each(["encrypted", "plain"] as const)(
    "to %s is known to every start by the key's record",
    async (to) => {
      await cutShort(to);
      const [record] = await world.keystore.list();
      expect(record).toMatchObject({ state: "active", conversion: { to } });
      expect((await world.host.readGuest()).disks.mapping["vda"]?.encryption_secret_uuid).toBe(record!.uuid);
    },
  );

  it.each([
    ["encrypted", "plain"],
    ["plain", "encrypted"],
  ] as const)("to %s is not turned to %s", async (to, other) => {
    await cutShort(to);
    expect(await world.failure(other)).toBe("CONVERSION_UNFINISHED");
    await world.convert(to);
    if (to === "encrypted") await expectEncrypted();
    else await expectPlain();
  });

  it("leaves a volume alone that was replaced by another one meanwhile", async () => {
    // the journal's first note is of 64 MiB
    otherWorld(80 * MIB);
    failAt(420);
    expect(await world.failure("encrypted")).toBe("VOLUME_WRITE_FAILED");
    vi.restoreAllMocks();
    const other = randomBytes(MIB);
    writeFileSync(world.path, other);
    expect(await world.failure("encrypted")).toBe("CONVERT_FAILED");
    expect(world.bytes().equals(other)).toBe(true);
  });
});
