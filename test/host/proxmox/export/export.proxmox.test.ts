import { execa } from "execa";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import {
  closeSync,
  existsSync,
  lstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  readlinkSync,
  readdirSync,
  statSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { userOf } from "../../../../src/host/proxmox/export/end-export.js";
import { closeIdleExports, listExports } from "../../../../src/host/proxmox/export/idle-exports.js";
import { resizeExport } from "../../../../src/host/proxmox/export/resize-export.js";
import { Secret } from "../../../../src/secret/secret.js";
import { guestSizeByQemu, qemuIo } from "../../../storage/qemu.js";
import { codeOf, MIB } from "../../../storage/workshop.js";
import type { EngineOrder } from "./engine-process.js";
import { errorOfWriting, ExportWorkshop, readBytes, writeBytes } from "./export-workshop.js";

const NAME = "vm-100-disk-0";
/** What the kernel says of a FUSE file whose server is gone. */
const DEAD = /ENOTCONN|ECONNABORTED/;

let workshop: ExportWorkshop;
beforeEach(() => {
  workshop = new ExportWorkshop();
});
afterEach(() => workshop[Symbol.asyncDispose]());

/** What the volume holds for its guest, read by QEMU with the key from the keystore. */
async function withKeyOf<T>(
  uuid: Awaited<ReturnType<ExportWorkshop["make"]>>,
  work: (key: Secret) => T,
): Promise<T> {
  const key = await workshop.keystore.fetch(uuid);
  using passphrase = key!.passphrase;
  return work(passphrase);
}

function nodeOf(name = NAME) {
  return workshop.base.qemuNode(name, undefined, "key");
}

function writeAt(path: string, offset: number, byte: number): void {
  writeBytes(path, offset, Buffer.alloc(4096, byte));
}

function byteAt(path: string, offset: number): number | undefined {
  return readBytes(path, offset, 1)[0];
}

/** Nothing of an export is left, and nobody serves one. */
function expectNothingLeft(): void {
  expect(workshop.left()).toEqual([]);
  expect(workshop.mounts()).toEqual([]);
  expect(workshop.daemons()).toEqual([]);
}

describe("an export", () => {
  it("shows the decrypted volume, and has written to it when it is closed", async () => {
    const uuid = await workshop.make();
    const path = await workshop.open();
    expect(path).toBe(join(workshop.places.exports, "local-luks", `${NAME}.img`));
    expect(statSync(path).size).toBe(8 * MIB);
    writeAt(path, 4 * MIB, 0x5a);
    expect(byteAt(path, 4 * MIB)).toBe(0x5a);
    await workshop.close();
    expectNothingLeft();
    await withKeyOf(uuid, (key) => qemuIo(nodeOf(), [`read -P 0x5a ${4 * MIB} 4096`], key));
  });

  it("keeps to itself: root alone can open what is there of it", async () => {
    await workshop.make();
    const path = await workshop.open();
    const directory = join(path, "..");
    const { pidFile, socket } = workshop.place();
    const directories = [directory, join(pidFile, ".."), workshop.places.exports];
    expect(directories.map((path) => statSync(path).mode & 0o777)).toEqual([0o700, 0o700, 0o700]);
    const modes = [path, pidFile, socket].map((file) => lstatSync(file).mode & 0o777);
    expect(modes).toEqual([0o600, 0o600, 0o600]);
    // what Proxmox VE's side looks at
    expect(readFileSync(join(directory, `${NAME}.pid`), "utf8").trim()).toBe(String(workshop.daemon()));
    const { exportsWritable } = workshop.places;
    const parents = [join(exportsWritable, ".."), join(exportsWritable, "local-luks"), exportsWritable];
    execFileSync("chmod", ["o+x", workshop.root, workshop.places.root, ...parents]);
    const asNobody = () =>
      execFileSync("setpriv", ["--reuid=65534", "--clear-groups", "--", "head", "-c1", path], {
        stdio: "pipe",
      });
    expect(asNobody).toThrow(/Permission denied/);
  });

  it("tells the passphrase to its daemon alone, which forgets it", async () => {
    const uuid = await workshop.make();
    await workshop.open();
    const text = await withKeyOf(uuid, (key) => key.use((bytes) => bytes.toString("latin1")));
    const pid = workshop.daemon();
    for (const file of ["cmdline", "environ"])
      expect(readFileSync(`/proc/${pid}/${file}`, "latin1")).not.toContain(text);
    for (const fd of readdirSync(`/proc/${pid}/fd`)) {
      const link = readlinkSync(`/proc/${pid}/fd/${fd}`);
      if (link.includes("(deleted)")) expect(readFileSync(`/proc/${pid}/fd/${fd}`, "latin1")).toBe("");
    }
    // a second look would open the volume again
    const { socket } = workshop.place();
    expect(
      await answerOf(socket, { execute: "object-del", arguments: { id: `key-${uuid}` } }),
    ).toHaveProperty("error");
  });

  it("is one, however many open it at once", async () => {
    await workshop.make();
    const paths = await Promise.all([workshop.open(), workshop.open(), workshop.open()]);
    expect(new Set(paths).size).toBe(1);
    expect(workshop.daemons()).toHaveLength(1);
    const pid = workshop.daemon();
    await workshop.open();
    expect(workshop.daemon()).toBe(pid);
  });

  it("is closed twice as well as once", async () => {
    await workshop.make();
    await workshop.close();
    await workshop.open();
    await workshop.close();
    await workshop.close();
    expectNothingLeft();
  });

  it("is not closed while somebody has it open", async () => {
    await workshop.make();
    const path = await workshop.open();
    const user = spawn("sleep", ["60"], { stdio: [openSync(path, "r"), "ignore", "ignore"] });
    try {
      // this process has it open as well
      expect(await codeOf(workshop.close())).toBe("VOLUME_BUSY");
    } finally {
      user.kill("SIGKILL");
      await once(user, "exit");
    }
  });

  it("has a daemon that outlives whoever opened it, in a session of its own", async () => {
    await workshop.make();
    await workshop.open();
    const fields = readFileSync(`/proc/${workshop.daemon()}/stat`, "latin1").split(") ")[1]!.split(" ");
    // ppid, session
    expect(fields[1]).toBe("1");
    expect(Number(fields[3])).not.toBe(
      Number(readFileSync("/proc/self/stat", "latin1").split(") ")[1]!.split(" ")[3]),
    );
  });

  it("of a template can be read only", async () => {
    await workshop.make("base-100-disk-0");
    const path = await workshop.open("base-100-disk-0");
    expect(byteAt(path, 0)).toBeTypeOf("number");
    expect(() => writeAt(path, 0, 1)).toThrow(/EACCES|EROFS|EPERM/);
  });

  it("has names of any length that Proxmox VE allows", async () => {
    const name = `vm-999999999-${"n".repeat(100)}`;
    await workshop.make(name);
    const path = await workshop.open(name);
    expect(statSync(path).size).toBe(8 * MIB);
    await workshop.close(name);
    expectNothingLeft();
    expect(readdirSync(workshop.places.exports)).toEqual(["local-luks"]);
    expect(readdirSync(workshop.places.exportDaemons)).toEqual(["local-luks"]);
  });
});

describe("an export of saved memory", () => {
  const STATE = "vm-100-state-before";

  it("is closed when QEMU has let go of it, which takes a moment", async () => {
    await workshop.make(STATE);
    const path = await workshop.open(STATE);
    const fd = openSync(path, "r");
    setTimeout(() => closeSync(fd), 700);
    await workshop.close(STATE);
    expectNothingLeft();
  });
});

describe("an export that is refused", () => {
  it.each(["on", "off"])("because a QEMU has the volume open, with its locking %s", async (locking) => {
    await workshop.make();
    const guest = await qemuWith(`driver=file,filename=${fileOf(NAME)},locking=${locking}`);
    try {
      expect(await codeOf(workshop.open())).toBe("VOLUME_BUSY");
      expectNothingLeft();
    } finally {
      await guest.end();
    }
    await workshop.open();
  });

  it("because a QEMU without locks has it open for reading, but for a cloud-init drive", async () => {
    // as a guest has a CD-ROM: it shares no writing
    const cdrom = (name: string) =>
      `driver=blkdebug,unshare-child-perms.0=write,read-only=on,image.driver=file,image.filename=${fileOf(name)},image.locking=on`;
    const drive = "vm-100-cloudinit";
    for (const name of [NAME, drive]) await workshop.make(name);
    const guests = [await qemuWith(cdrom(NAME)), await qemuWith(cdrom(drive))];
    try {
      expect(await codeOf(workshop.open())).toBe("VOLUME_BUSY");
      const path = await workshop.open(drive);
      writeAt(path, 0, 0x55);
      await workshop.close(drive);
      const writer = await qemuWith(`driver=file,filename=${fileOf(drive)},locking=off`);
      expect(await codeOf(workshop.open(drive))).toBe("VOLUME_BUSY");
      await writer.end();
      expect(await workshop.first(drive)).toBe(0x55);
    } finally {
      for (const guest of guests) await guest.end();
    }
    expectNothingLeft();
  });

  it("because the volume is not there, or has no header", async () => {
    expect(await codeOf(workshop.open())).toBe("VOLUME_NOT_FOUND");
    writeFileSync(fileOf(NAME), Buffer.alloc(4 * MIB), { mode: 0o600 });
    expect(await codeOf(workshop.open())).toBe("VOLUME_NOT_FORMATTED");
    expectNothingLeft();
  });

  it("because no keystore has the key", async () => {
    await workshop.keystore.delete(await workshop.make());
    expect(await codeOf(workshop.open())).toBe("KEY_NOT_FOUND");
    expectNothingLeft();
  });

  it("because the key does not open the volume", async () => {
    const uuid = await workshop.make();
    const key = await workshop.keystore.fetch(uuid);
    key!.passphrase.dispose();
    await workshop.keystore.delete(uuid);
    using passphrase = Secret.randomPassphrase();
    await workshop.keystore.store({ record: key!.record, passphrase });
    expect(await codeOf(workshop.open())).toBe("PASSPHRASE_REJECTED");
    expectNothingLeft();
  });
});

describe("an export whose daemon was killed", () => {
  it("shows nothing any more, takes nothing, and is mended by the next open", async () => {
    await workshop.make();
    const path = await workshop.open();
    writeAt(path, 0, 0x11);
    process.kill(workshop.daemon(), "SIGKILL");
    await gone();
    expect(() => readFileSync(path)).toThrow(DEAD);
    expect(() => writeFileSync(path, "plaintext")).toThrow(DEAD);
    expect(listExports(workshop.places).map(({ state }) => state)).toEqual(["dead"]);
    expect(await workshop.open()).toBe(path);
    expect(byteAt(path, 0)).toBe(0x11);
    expect(workshop.mounts()).toHaveLength(1);
  });

  it("is closed, also while somebody has it open", async () => {
    await workshop.make();
    const fd = openSync(await workshop.open(), "r");
    process.kill(workshop.daemon(), "SIGKILL");
    await gone();
    await workshop.close();
    expect(() => closeSync(fd)).toThrow(DEAD);
    expectNothingLeft();
  });

  it.each(["SIGTERM", "SIGKILL"] as const)(
    "by %s has a path that nothing can be written to, nor made at, then or later",
    async (signal) => {
      await workshop.make();
      const path = await workshop.open();
      process.kill(workshop.daemon(), signal);
      await gone();
      // QEMU unmounts it when it ends by itself; else the mount is dead
      expect(errorOfWriting(path)).toMatch(signal === "SIGTERM" ? /^EROFS$/ : DEAD);
      expect(() => unlinkSync(path)).toThrow(/EROFS|EBUSY/);
      await workshop.close();
      expect(existsSync(path)).toBe(false);
      expect(errorOfWriting(path)).toBe("EROFS");
      expect(await workshop.open()).toBe(path);
      writeAt(path, 0, 0x12);
    },
  );
});

describe("the directory of exports", () => {
  it("is mended when a killed engine has left it half made", async () => {
    await workshop.make();
    const { exports: view, exportsWritable: writable } = workshop.places;
    for (const directory of [view, writable]) mkdirSync(directory, { recursive: true });
    execFileSync("mount", ["--make-private", "-t", "tmpfs", "luksmith", writable]);
    execFileSync("mount", ["--bind", writable, view]);
    const path = await workshop.open();
    await workshop.close();
    expect(errorOfWriting(path)).toBe("EROFS");
  });

  it("keeps its exports when somebody has unmounted the side that is written to", async () => {
    await workshop.make();
    await workshop.make("vm-101-disk-0");
    const path = await workshop.open();
    execFileSync("umount", ["--", workshop.places.exportsWritable]);
    await workshop.open("vm-101-disk-0");
    writeAt(path, 0, 0x13);
    expect(workshop.mounts()).toHaveLength(2);
    await workshop.close("vm-101-disk-0");
    await workshop.close();
    expect(errorOfWriting(path)).toBe("EROFS");
    expectNothingLeft();
  });
});

describe("an export that this process cannot see", () => {
  it("is another's, and goes on", async () => {
    await workshop.make();
    await workshop.open();
    await workshop.close();
    // a process with mounts of its own, as a service of systemd may have
    const order: EngineOrder = { root: workshop.root, base: workshop.storage.base, op: "open", volume: NAME };
    const engine = join(import.meta.dirname, "engine-process.ts");
    const { stdout } = await execa(
      "unshare",
      ["--mount", "--propagation=private", process.execPath, "--import=tsx", engine, JSON.stringify(order)],
      { reject: false },
    );
    expect(stdout).toBe("done");
    expect(workshop.mounts()).toEqual([]);
    const pid = workshop.daemon();
    expect(await codeOf(workshop.open())).toBe("VOLUME_BUSY");
    expect(workshop.daemon()).toBe(pid);
    const user = spawn("nsenter", ["--mount", `--target=${pid}`, "--", "tail", "-f", workshop.place().image]);
    await until(() => userOf(workshop.place()) !== undefined);
    expect(await codeOf(workshop.close())).toBe("VOLUME_BUSY");
    user.kill("SIGKILL");
    await once(user, "exit");
    await workshop.close();
    expectNothingLeft();
    expect(await workshop.open()).toBe(workshop.place().image);
  });
});

describe("an export of a volume that was replaced", () => {
  it("shows the new volume", async () => {
    const first = await workshop.make();
    const path = await workshop.open();
    writeAt(path, 0, 0x22);
    execFileSync("mv", [fileOf(NAME), `${fileOf(NAME)}.old`]);
    const second = await workshop.make();
    expect(second).not.toBe(first);
    expect(await workshop.open()).toBe(path);
    writeAt(path, 0, 0x33);
    await workshop.close();
    await withKeyOf(second, (key) => qemuIo(nodeOf(), ["read -P 0x33 0 4096"], key));
  });
});

describe("resizeExport", () => {
  it("enlarges volume and export, and never makes them smaller", async () => {
    const uuid = await workshop.make();
    const path = await workshop.open();
    const resize = (size: number) => resizeExport(workshop.name(), BigInt(size), workshop.resources);
    expect(await resize(16 * MIB)).toBe("enlarged");
    expect(statSync(path).size).toBe(16 * MIB);
    writeAt(path, 15 * MIB, 0x44);
    expect(await resize(16 * MIB)).toBe("enlarged");
    expect(await codeOf(resize(8 * MIB))).toBe("VOLUME_WOULD_SHRINK");
    await workshop.close();
    expect(await resize(32 * MIB)).toBe("not exported");
    await withKeyOf(uuid, (key) => {
      expect(guestSizeByQemu(nodeOf(), key)).toBe(BigInt(16 * MIB));
      qemuIo(nodeOf(), [`read -P 0x44 ${15 * MIB} 4096`], key);
    });
  });
});

describe("closeIdleExports", () => {
  it("ends what nobody has open nor asked for lately, and nothing else", async () => {
    for (const name of [NAME, "vm-101-disk-0", "vm-102-disk-0"]) await workshop.make(name);
    const used = openSync(await workshop.open(), "r");
    await workshop.open("vm-101-disk-0");
    await workshop.open("vm-102-disk-0");
    const states = () =>
      Object.fromEntries(listExports(workshop.places).map(({ name, state }) => [name.volume, state]));
    expect(states()).toEqual({ [NAME]: "in use", "vm-101-disk-0": "idle", "vm-102-disk-0": "idle" });
    const aged = (name: string) =>
      execFileSync("touch", ["-d", "11 minutes ago", workshop.place(name).pidFile]);
    for (const name of [NAME, "vm-101-disk-0", "vm-102-disk-0"]) aged(name);
    // asked for again
    await workshop.open("vm-102-disk-0");
    const ended = await closeIdleExports(600_000, workshop.resources);
    expect(ended.map(({ label }) => label)).toEqual(["local-luks:vm-101-disk-0"]);
    closeSync(used);
    // it was seen in use a moment ago
    expect(await closeIdleExports(600_000, workshop.resources)).toEqual([]);
    aged(NAME);
    process.kill(workshop.daemon("vm-102-disk-0"), "SIGKILL");
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(await closeIdleExports(600_000, workshop.resources)).toHaveLength(2);
    expectNothingLeft();
  });
});

function fileOf(name: string): string {
  const volume = workshop.base.volume(name);
  if (volume.kind !== "file") throw new Error("no file");
  return volume.path;
}

/** A QEMU that has a node open, as a guest has its disk. */
async function qemuWith(node: string) {
  const readOnly = node.includes("read-only=on") ? ["-r"] : [];
  const guest = spawn("qemu-io", [...readOnly, "--image-opts", node], { stdio: ["pipe", "pipe", "inherit"] });
  await once(guest.stdout, "data");
  return {
    async end() {
      guest.stdin.end();
      await once(guest, "exit");
    },
  };
}

async function gone(): Promise<void> {
  await until(() => workshop.daemons().length === 0);
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5));
}

async function answerOf(socket: string, command: object): Promise<unknown> {
  const { connect } = await import("node:net");
  const { createInterface } = await import("node:readline");
  const connection = connect(socket);
  connection.write(`{"execute":"qmp_capabilities"}${JSON.stringify(command)}`);
  const answers: unknown[] = [];
  for await (const line of createInterface({ input: connection })) {
    answers.push(JSON.parse(line));
    if (answers.length === 3) break;
  }
  connection.destroy();
  return answers[2];
}
