import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { afterEach, describe, expect, test } from "vitest";
import { LuksmithError } from "../../src/error/luksmith-error.js";
import { FakeFailingKeystore } from "../fake/failing-keystore.js";
import { ConvertWorld, digestOf } from "./convert-world.js";

const MIB = 1024 * 1024;
const GUEST = { id: "11111111-2222-4333-8444-555555555555" };

let world: ConvertWorld;
afterEach(() => world[Symbol.dispose]());

/** A disk of 12 MiB: data, a hole of 8 MiB, and data that end in an odd place. */
function plainDisk(format: "raw" | "qcow2"): { readonly guest: string; readonly file: string } {
  world = new ConvertWorld(format);
  const { path } = world.volume;
  const raw = format === "raw" ? path : world.at("content");
  writeFileSync(raw, randomBytes(2 * MIB));
  truncateSync(raw, 12 * MIB);
  const fd = openSync(raw, "r+");
  writeSync(fd, randomBytes(MIB + 512), 0, MIB + 512, 10 * MIB);
  closeSync(fd);
  if (format === "qcow2") execFileSync("qemu-img", ["convert", "-f", "raw", "-O", "qcow2", raw, path]);
  return { guest: digestOf(raw), file: digestOf(path) };
}

describe.each(["raw", "qcow2"] as const)("a %s image", (format) => {
  test("becomes LUKS, LUKS under another key, and plain again; what was is never touched", async () => {
    const { guest, file } = plainDisk(format);
    const original = world.host.xml;
    await world.convert("encrypted");

    const first = await world.path();
    expect(first).toBe(world.at(`vm/web1.luks.${format}`));
    expect(await world.guestSees()).toBe(guest);
    const [key] = await world.keystore.list();
    expect(key).toMatchObject({ state: "active", volume: first, disk: "vda" });
    expect((await world.disk()).encryption_secret_uuid).toBe(key?.uuid);
    expect(digestOf(world.volume.path)).toBe(file);
    const details = world.audit.uses.filter(({ event }) => event === "convert").map(({ detail }) => detail);
    expect(details).toEqual([`begins, from ${world.volume.path}`, `from ${world.volume.path}`]);

    const encrypted = digestOf(first);
    await world.convert("encrypted");
    expect(await world.path()).toBe(world.at(`vm/web1.luks2.${format}`));
    expect((await world.disk()).encryption_secret_uuid).not.toBe(key?.uuid);
    expect(await world.guestSees()).toBe(guest);
    expect(digestOf(first)).toBe(encrypted);

    await world.convert("plain");
    expect(await world.path()).toBe(world.at(`vm/web1.plain.${format}`));
    expect(await world.disk()).toMatchObject({ encrypted: false });
    expect(await world.guestSees()).toBe(guest);
    expect(world.host.xml).toBe(original.replace(`web1.${format}`, `web1.plain.${format}`));
    // holes stay holes
    expect(statSync(await world.path()).blocks * 512).toBeLessThan(5 * MIB);
  });

  test("is locked while it is copied: no QEMU can open it for writing", async () => {
    plainDisk(format);
    const opened: string[] = [];
    world.hear = (what) => {
      if (!what.startsWith("formatted")) return;
      try {
        execFileSync("qemu-io", ["-f", format, "-c", "write 0 512", world.volume.path], { stdio: "pipe" });
        opened.push("opened");
      } catch (thrown) {
        opened.push(String(thrown));
      }
    };
    await world.convert("encrypted");

    expect(opened).toHaveLength(1);
    expect(opened[0]).toMatch(/Failed to get .*lock/);
  });

  test("is not copied while a QEMU has it open for writing", async () => {
    plainDisk(format);
    const holder = await world.runner.hold({
      tool: "qemu-io",
      args: ["-f", format, "--", world.volume.path],
    });
    if (holder.kind !== "held") throw new Error(holder.stderr);
    await using held = holder;
    expect(held.isRunning).toBe(true);
    const { xml } = world.host;
    expect(await world.failure(world.convert("encrypted"))).toBe("VOLUME_BUSY");
    expect(world.host.xml).toBe(xml);
    expect(readdirSync(world.at("vm"))).toHaveLength(1);
    expect(await world.keystore.list()).toEqual([]);
  });

  test.each(["encrypted", "plain"] as const)(
    "of which a copy (to %s) was cut short is copied anew, whatever was written since",
    async (to) => {
      plainDisk(format);
      if (to === "plain") await world.convert("encrypted");
      const source = await world.path();
      const { xml } = world.host;
      world.runner.after = ({ args }) => {
        if (args[0] === "convert") throw new Error("power is gone");
      };
      expect(await world.failure(world.convert(to))).toMatch("power is gone");
      expect(world.host.xml).toBe(xml);
      world.runner.after = () => undefined;
      // the guest has run on its old volume meanwhile
      await change(source);
      const now = await world.guestSees();
      await world.convert(to);

      expect(await world.path()).not.toBe(source);
      expect(await world.guestSees()).toBe(now);
      expect((await world.keystore.list()).map(({ state }) => state)).toEqual(["active"]);
    },
  );
});

/** What the guest sees at 4 MiB: data where there were zeros, and zeros where there were data. */
async function change(path: string): Promise<void> {
  const { encryption_secret_uuid: uuid, volume } = await world.disk();
  const writes = ["-c", "write -P 7 4M 1M", "-c", "write -z 0 1M"];
  const format = volume.kind === "file" ? volume.format : "raw";
  if (uuid === undefined) {
    execFileSync("qemu-io", ["-f", format, ...writes, path], { stdio: "pipe" });
    return;
  }
  const key = await world.keystore.fetch(uuid);
  using passphrase = key!.passphrase;
  const secret = passphrase.use((bytes) => bytes.toString());
  const file = `file.driver=file,file.filename=${path}`;
  const node =
    format === "qcow2"
      ? `driver=qcow2,encrypt.format=luks,encrypt.key-secret=k,${file}`
      : `driver=luks,key-secret=k,${file}`;
  const object = ["--object", `secret,id=k,data=${secret}`];
  execFileSync("qemu-io", [...object, "--image-opts", ...writes, node], { stdio: "pipe" });
}

test("a guest that is started on its new volume at once keeps it", async () => {
  const { guest } = plainDisk("raw");
  const { host } = world;
  const annotate = host.annotate.bind(host);
  host.annotate = async (...given) => {
    await annotate(...given);
    host.running = true;
    await world.guestLocks.announceStart(GUEST);
  };
  await world.convert("encrypted");
  expect((await world.disk()).encrypted).toBe(true);
  expect(await world.guestSees()).toBe(guest);
});

describe("a guest that ran and was shut off again right after it got its new volume", () => {
  /** Writes beside the guest's data, as its start did; resolves to what the conversion says. */
  async function convertAround(written: () => readonly string[]): Promise<string> {
    const { host } = world;
    const annotate = host.annotate.bind(host);
    host.annotate = async (...given) => {
      host.annotate = annotate;
      await annotate(...given);
      await world.guestLocks.announceStart(GUEST);
      for (const path of written()) {
        const fd = openSync(path, "r+");
        writeSync(fd, Buffer.alloc(4096, 0x77), 0, 4096, 4 * MIB);
        closeSync(fd);
      }
    };
    return await world.failure(world.convert("encrypted"));
  }

  const [old, made] = ["vm/web1.raw", "vm/web1.luks.raw"];
  const isThere = (name: string) =>
    readFileSync(world.at(name))
      .subarray(4 * MIB, 4 * MIB + 4096)
      .every((byte) => byte === 0x77);

  test("keeps it, with what it wrote", async () => {
    plainDisk("raw");
    expect(await convertAround(() => [world.at(made)])).toBe("none");
    expect(await world.path()).toBe(world.at(made));
    expect(isThere(made)).toBe(true);
    expect((await world.keystore.list()).map(({ state }) => state)).toEqual(["active"]);
  });

  test("keeps both where nothing tells which one it ran on", async () => {
    plainDisk("raw");
    expect(await convertAround(() => [world.at(old), world.at(made)])).toBe("CONVERT_FAILED");
    expect(await world.path()).toBe(world.at(made));
    expect(world.notes.of(await world.host.readGuest()).map(({ state }) => state)).toEqual(["verified"]);
    expect([isThere(old), isThere(made)]).toEqual([true, true]);
  });

  test("gets the old one back where that alone was written to", async () => {
    plainDisk("raw");
    expect(await convertAround(() => [world.at(old)])).toBe("GUEST_CHANGED");
    expect(await world.path()).toBe(world.at(old));
  });
});

test("a start that was refused while it was copied costs nothing", async () => {
  const { guest } = plainDisk("raw");
  let announced: Promise<void> | undefined;
  world.runner.before = ({ args }) => {
    if (args[0] === "compare") announced = world.guestLocks.announceStart(GUEST);
  };
  expect(await world.failure(world.convert("encrypted"))).toBe("none");
  await announced;
  expect(await world.guestSees()).toBe(guest);
});

test("zeros of the source take no room in a qcow2 image that is encrypted", async () => {
  plainDisk("qcow2");
  await world.convert("encrypted");

  expect(statSync(await world.path()).size).toBeLessThan(7 * MIB);
});

test("a copy goes no faster than it may", async () => {
  const { guest } = plainDisk("raw");
  const begin = performance.now();
  // a second's worth may go at once
  await world.convert("encrypted", undefined, BigInt(4 * MIB));

  expect(performance.now() - begin).toBeGreaterThan(1500);
  expect(await world.guestSees()).toBe(guest);
});

describe("nothing is changed", () => {
  test("where a qcow2 image has snapshots, which a copy would lose", async () => {
    plainDisk("qcow2");
    execFileSync("qemu-img", ["snapshot", "-c", "one", world.volume.path]);
    const { xml } = world.host;
    expect(await world.failure(world.convert("encrypted"))).toBe("VOLUME_UNSUPPORTED");
    expect(world.host.xml).toBe(xml);
    expect(await world.keystore.list()).toEqual([]);
  });

  test("for an overlay, unless a new volume is named, which has all data then", async () => {
    const { guest } = plainDisk("qcow2");
    const { path } = world.volume;
    execFileSync("mv", [path, world.at("vm/base")]);
    execFileSync("qemu-img", ["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", "base", path]);
    expect(await world.failure(world.convert("encrypted"))).toBe("VOLUME_UNSUPPORTED");
    await world.convert("encrypted", world.at("vm/flat.qcow2"));

    expect(await world.guestSees()).toBe(guest);
    const info = execFileSync("qemu-img", ["info", await world.path()], { encoding: "utf8" });
    expect(info).not.toContain("backing");
  });

  test("where the copy is not what was copied", async () => {
    plainDisk("raw");
    const { xml } = world.host;
    world.runner.after = ({ args }) => {
      if (args[0] !== "convert") return;
      const fd = openSync(world.at("vm/web1.luks.raw"), "r+");
      writeSync(fd, randomBytes(16), 0, 16, 5 * MIB);
      closeSync(fd);
    };
    expect(await world.failure(world.convert("encrypted"))).toBe("CONVERT_FAILED");
    expect(world.host.xml).toBe(xml);
  });

  test.each(["was started, wrote and was shut off again", "runs"])(
    "where the guest %s meanwhile",
    async (what) => {
      plainDisk("raw");
      const { xml } = world.host;
      let announced: Promise<void> | undefined;
      world.runner.before = ({ args }) => {
        if (args[0] !== "compare") return;
        if (what === "runs") {
          world.host.running = true;
          return;
        }
        announced = world.guestLocks.announceStart(GUEST);
        // past QEMU's lock
        const fd = openSync(world.volume.path, "r+");
        writeSync(fd, Buffer.alloc(1), 0, 1, 11 * MIB + 800);
        closeSync(fd);
      };
      const code = await world.failure(world.convert("encrypted"));
      await announced;
      expect(code).toBe(what === "runs" ? "GUEST_RUNNING" : "GUEST_CHANGED");
      expect(world.host.xml).toBe(xml);
    },
  );

  test.each([
    ["encrypted", "plain", "runs"],
    ["encrypted", "plain", "was announced"],
    ["encrypted", "encrypted", "runs"],
    ["plain", "encrypted", "runs"],
    ["plain", "encrypted", "was announced"],
  ] as const)("where to %s from %s the guest's start %s before it was handed over", async (to, from, how) => {
    plainDisk("raw");
    if (from === "encrypted") await world.convert("encrypted");
    const { host } = world;
    const { xml } = host;
    const source = await world.path();
    const starting = async () => {
      if (how === "runs") [host.running, host.live] = [true, host.xml];
      else await world.guestLocks.announceStart(GUEST);
    };
    const [annotate, nameVolume] = [host.annotate.bind(host), host.nameVolume.bind(host)];
    let changes = 0;
    host.annotate = async (...given) => {
      if (changes++ === 0) await starting();
      await annotate(...given);
    };
    host.nameVolume = async (...given) => {
      if (changes++ === 0) await starting();
      await nameVolume(...given);
    };
    expect(await world.failure(world.convert(to))).toBe("GUEST_CHANGED");
    expect(changes).toBe(2);
    expect(host.xml).toBe(xml);

    [host.running, host.live] = [false, undefined];
    await change(source);
    const now = await world.guestSees();
    await world.convert(to);
    expect(await world.path()).not.toBe(source);
    expect(await world.guestSees()).toBe(now);
  });

  test("where the host did not answer, and handed it over after the guest's start", async () => {
    plainDisk("raw");
    const { host } = world;
    const { xml } = host;
    const annotate = host.annotate.bind(host);
    host.annotate = async (...given) => {
      [host.running, host.live] = [true, host.xml];
      await annotate(...given);
      throw new LuksmithError("HOST_UNAVAILABLE", { what: "it did not answer" });
    };
    expect(await world.failure(world.convert("encrypted"))).toBe("GUEST_CHANGED");
    expect(host.xml).toBe(xml);
  });

  test("where the new volume's storage is full before all is copied; with room, it goes on", async () => {
    const { guest } = plainDisk("qcow2");
    const { xml } = world.host;
    mkdirSync(world.at("small"));
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=8m", "tmpfs", world.at("small")]);
    try {
      const [target, filler] = [world.at("small/new.qcow2"), world.at("small/filler")];
      world.hear = (what) => {
        if (what.startsWith("formatted")) writeFileSync(filler, Buffer.alloc(6 * MIB));
      };
      expect(await world.failure(world.convert("encrypted", target))).toBe("CONVERT_FAILED");
      expect(world.host.xml).toBe(xml);
      expect((await world.keystore.list()).map(({ state }) => state)).toEqual(["pending"]);
      world.hear = () => undefined;
      rmSync(filler);
      await world.convert("encrypted", target);
      expect(await world.guestSees()).toBe(guest);
    } finally {
      execFileSync("umount", [world.at("small")]);
    }
  });

  test.each(["copied", "verified"])("where the old volume is gone when it is %s", async (moment) => {
    plainDisk("raw");
    const { xml } = world.host;
    const { path } = world.volume;
    world.runner.before = ({ args }) => {
      if (args[0] === (moment === "copied" ? "convert" : "compare")) renameSync(path, `${path}.gone`);
    };
    expect(await world.failure(world.convert("encrypted"))).toBe("VOLUME_NOT_FOUND");
    expect(world.host.xml).toBe(xml);
    world.runner.before = () => undefined;
    renameSync(`${path}.gone`, path);
    await world.convert("encrypted");
    expect((await world.disk()).encrypted).toBe(true);
  });

  test("where the disk was given another volume meanwhile", async () => {
    plainDisk("raw");
    world.runner.before = ({ args }) => {
      if (args[0] === "compare") world.host.xml = world.host.xml.replace("web1.raw", "web2.raw");
    };
    expect(await world.failure(world.convert("encrypted"))).toBe("GUEST_CHANGED");
    expect(world.host.xml).toContain("web2.raw");
  });

  test("into a file that is there, and that nobody named", async () => {
    plainDisk("raw");
    writeFileSync(world.at("vm/web1.luks.raw"), Buffer.alloc(20 * MIB));
    expect(await world.failure(world.convert("encrypted"))).toBe("VOLUME_EXISTS");
    await world.convert("encrypted", world.at("vm/new.raw"));
    writeFileSync(world.at("vm/new.plain.raw"), Buffer.alloc(20 * MIB));
    expect(await world.failure(world.convert("plain"))).toBe("VOLUME_EXISTS");
    writeFileSync(world.at("vm/other"), randomBytes(20 * MIB));
    expect(await world.failure(world.convert("plain", world.at("vm/other")))).toBe("VOLUME_NOT_EMPTY");
    expect(readFileSync(world.at("vm/new.plain.raw")).every((byte) => byte === 0)).toBe(true);
  });
});

test.each(["before", "after"] as const)(
  "a keystore that dies %s any call leaves the guest as it was, and a further call goes on",
  async (moment) => {
    const { guest, file } = plainDisk("raw");
    let isDone = false;
    for (let call = 1; !isDone && call < 20; call++) {
      const { xml } = world.host;
      world.kept = new FakeFailingKeystore(world.keystore, { call, moment });
      isDone = (await world.failure(world.convert("encrypted"))) === "none";
      expect(digestOf(world.volume.path)).toBe(file);
      const isConverted = world.host.xml !== xml;
      if (isConverted) break;
    }
    world.kept = world.keystore;
    if (!isDone && !(await world.disk()).encrypted) await world.convert("encrypted");

    expect((await world.disk()).encrypted).toBe(true);
    expect(await world.guestSees()).toBe(guest);
    expect((await world.keystore.list()).length).toBe(1);
    expect(existsSync(world.volume.path)).toBe(true);
  },
);
