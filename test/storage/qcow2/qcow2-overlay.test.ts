import fc from "fast-check";
import { readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { newKeyUuid } from "../../../src/keystore/key-uuid.js";
import { Secret } from "../../../src/secret/secret.js";
import type { FormatRequest, QemuNode } from "../../../src/storage/storage-backend.js";
import { createLuksByQemu } from "../../encryption/qemu-luks.js";
import { programRuns, TIMES } from "../../program-runs.js";
import { FormatProcess } from "../format-elsewhere.js";
import { headerOf, makeBase, makeOverlay, type OverlayChoices, overwrite, promisesOf } from "./overlays.js";
import { forgetBaseFormat, renameBase } from "./overlays.js";
import { checkByQemu, guestSizeByQemu, plainNode, qemuIo, run } from "../qemu.js";
import { codeOf, filesIn, type FileVolume, makeFifo, MIB, sha256, SPEC, Workshop } from "../workshop.js";

const DEPTHS = ["allocation-map", "read"] as const;

let workshop: Workshop;
let base: string;
let volume: FileVolume;
let request: FormatRequest;

beforeEach(() => {
  workshop = new Workshop("qcow2");
  base = at("base.img");
  volume = { kind: "file", path: at("disk.img"), format: "qcow2" };
  request = { volume, uuid: newKeyUuid(), spec: SPEC, passphrase: Secret.randomPassphrase() };
});
afterEach(() => {
  request.passphrase.dispose();
  workshop[Symbol.dispose]();
});

const at = (name: string) => join(workshop.directory, name);
const probe = (depth: "header" | "allocation-map" | "read") => workshop.backend.probe(volume, depth);
const node = () => workshop.backend.qemuNode(volume, "key");
const asGuest = (...commands: string[]) => qemuIo(node(), commands, request.passphrase);

async function expectRefusal(code: string): Promise<void> {
  const before = workshop.state();
  expect(await codeOf(workshop.backend.createEncrypted(request))).toBe(code);
  expect(workshop.state()).toEqual(before);
}

describe("a qcow2 overlay that holds nothing", () => {
  it("is empty, which neither its header nor its base can tell", async () => {
    makeOverlay(volume, makeBase(base).path);
    expect(await probe("header")).toEqual({ kind: "allocated" });
    for (const depth of DEPTHS) expect(await probe(depth)).toEqual({ kind: "empty" });
  });

  it.each<[string, OverlayChoices]>([
    ["compat=0.10", { options: "compat=0.10" }],
    ["clusters of 512 bytes", { options: "cluster_size=512" }],
    ["clusters of 2 MiB", { options: "cluster_size=2M" }],
    ["wide refcounts", { options: "refcount_bits=64,cluster_size=4k" }],
    ["lazy refcounts", { options: "lazy_refcounts=on" }],
    ["subclusters", { options: "extended_l2=on,cluster_size=128k" }],
    ["zstd", { options: "compression_type=zstd" }],
    ["more than its base has", { size: 40 * MIB }],
    ["less than its base has", { size: MIB + 512 }],
  ])("becomes an encrypted one with the same promises: %s", async (_, choices) => {
    makeBase(base, { size: 20 * MIB });
    const before = sha256(base);
    makeOverlay(volume, base, choices);
    const promises = promisesOf(volume);
    await workshop.backend.createEncrypted(request);
    expect(promisesOf(volume)).toEqual(promises);
    expect(guestSizeByQemu(node(), request.passphrase)).toBe(BigInt(promises.size ?? 0));

    const shared = Math.min(promises.size ?? 0, 20 * MIB);
    asGuest(`read -P 0x41 0 ${shared}`, `write -P 0x77 512 ${MIB - 512}`, "read -P 0x77 512 1024");
    asGuest("read -P 0x41 0 512", `read -P 0x41 ${MIB} ${shared - MIB}`);
    if (shared < (promises.size ?? 0)) asGuest(`read -P 0 ${shared} ${(promises.size ?? 0) - shared}`);
    checkByQemu(node(), request.passphrase);
    expect(readFileSync(volume.path).includes(Buffer.alloc(64, 0x77))).toBe(false);
    expect(sha256(base)).toBe(before);
    expect(filesIn(workshop.directory)).toEqual(["base.img", "disk.img"]);
  });

  it("differs from the encrypted one that qemu-img makes in its keys alone", async () => {
    makeOverlay(volume, makeBase(base).path, { size: MIB });
    await workshop.backend.createEncrypted(request);
    const theirs = { path: at("theirs.img") };
    createLuksByQemu("qcow2", theirs.path, ["-b", base, "-F", "raw"]);
    const { encryption, ...others } = headerOf(theirs);
    expect(headerOf(volume)).toEqual({ ...others, encryption: { ...encryption, length: 2 * MIB } });
  });

  it("is encrypted once by two callers", async () => {
    makeOverlay(volume, makeBase(base).path);
    const both = [workshop.backend, workshop.another()].map((backend) => backend.createEncrypted(request));
    const [one, two] = await Promise.all(both);
    expect(one).toEqual(two);
    asGuest("read -P 0x41 0 8M");
  });

  it.each(["raw", "qcow2"] as const)(
    "lies over an encrypted base (%s) as well, which stays closed",
    async (format) => {
      const other = new Workshop(format);
      try {
        using baseKey = Secret.randomPassphrase();
        const encrypted = other.makeEmpty("base.img", 10 * MIB);
        await other.backend.createEncrypted({
          ...request,
          volume: encrypted,
          uuid: newKeyUuid(),
          passphrase: baseKey,
        });
        const baseNode = other.backend.qemuNode(encrypted, "base-key");
        qemuIo(other.backend.qemuNode(encrypted, "key"), ["write -P 0x41 0 8M"], baseKey);
        const before = sha256(encrypted.path);
        makeOverlay(volume, encrypted.path, { format });
        await workshop.backend.createEncrypted(request);
        withSecret(baseKey, (object) => {
          const chain: QemuNode = { ...node(), backing: baseNode };
          const commands = ["read -P 0x41 0 8M", "write -P 0x77 1M 1M", "read -P 0x77 1M 1M"];
          qemuIoWith(object, chain, commands, request.passphrase);
        });
        expect(readFileSync(volume.path).includes(Buffer.alloc(64, 0x77))).toBe(false);
        expect(sha256(encrypted.path)).toBe(before);
      } finally {
        other[Symbol.dispose]();
      }
    },
  );
});

describe("the base that a qcow2 overlay names", () => {
  const NAMES: [string, string][] = [
    ["is missing", "/nowhere/base.img"],
    ["is a pseudo-protocol", 'json:{"driver":"file","filename":"/etc/passwd"}'],
    ["is a remote one", "nbd://127.0.0.1:1/x"],
    ["is in /proc", "/proc/self/fd/3"],
    ["is a device", "/dev/full"],
    ["has commas and quotes", `a,backing=b "'$(id)`],
    ["is as long as QEMU allows", "n".repeat(1023)],
  ];

  it.each(NAMES)("%s, and is kept and not looked for", async (_, name) => {
    makeOverlay(volume, name, { format: "qcow2" });
    const { backing } = headerOf(volume);
    for (const depth of DEPTHS) expect(await probe(depth)).toEqual({ kind: "empty" });
    await workshop.backend.createEncrypted(request);
    expect(headerOf(volume).backing).toEqual(backing);
    expect(backing?.name.toString()).toBe(name);
    expect(await probe("header")).toMatchObject({ kind: "luks" });
  });

  it("is no text, and is kept", async () => {
    const name = Buffer.from("ff61fe0a2fc0af", "hex");
    makeOverlay(volume, "x".repeat(name.length));
    renameBase(volume, name);
    await workshop.backend.createEncrypted(request);
    expect(headerOf(volume).backing?.name).toEqual(name);
  });

  it.each<[string, () => void]>([
    ["a FIFO, on which an open would hang", () => makeFifo(base)],
    ["a file", () => writeFileSync(base, "x".repeat(MIB))],
  ])("is %s, and no process touches it", async (_, make) => {
    make();
    makeOverlay(volume, base);
    using elsewhere = new FormatProcess(workshop);
    const trace = join(workshop.root, "trace");
    const strace = ["strace", "-f", "-o", trace, "-P", base, "-P", volume.path];
    expect(await elsewhere.run(request, { under: strace })).toBe("done");
    const calls = readFileSync(trace, "utf8");
    expect(calls).toContain(volume.path);
    expect(calls).not.toContain(base);
  });

  it("has no format: that is refused, with what to do", async () => {
    makeOverlay(volume, makeBase(base).path);
    forgetBaseFormat(volume);
    for (const depth of ["header", ...DEPTHS] as const) {
      expect(await probe(depth)).toEqual({
        kind: "unreadable",
        reason: expect.stringContaining("qemu-img rebase -u") as string,
      });
    }
    await expectRefusal("VOLUME_UNREADABLE");
    run("qemu-img", ["rebase", "-u", "-f", "qcow2", "-F", "raw", "-b", base, volume.path]);
    await workshop.backend.createEncrypted(request);
    asGuest("read -P 0x41 0 8M");
  });

  it("has a name for which clusters of 512 bytes have no room beside a LUKS header", async () => {
    makeOverlay(volume, "n".repeat(360), { options: "cluster_size=512" });
    expect(await probe("read")).toEqual({ kind: "empty" });
    await expectRefusal("VOLUME_UNSUPPORTED");
  });
});

describe("a qcow2 overlay is refused when it", () => {
  const plainly = (...commands: string[]) => qemuIo(plainNode(volume), commands);

  it.each<[string, () => void]>([
    ["was written to", () => plainly("write -P 1 0 512")],
    ["was written to at its end", () => plainly(`write -P 1 ${8 * MIB - 512} 512`)],
    ["hides what its base has by clusters of zeros", () => plainly("write -z 0 64k")],
    ["has written zeros of its own", () => plainly("write -P 0 0 64k")],
    ["was written compressed", () => plainly("write -c -P 1 0 64k")],
    ["was written to and discarded again", () => plainly("write -P 1 0 64k", "discard 0 64k")],
    [
      "has clusters allocated in advance",
      () => makeOverlay(volume, base, { options: "extended_l2=on,preallocation=metadata" }),
    ],
  ])("%s", async (_, change) => {
    makeOverlay(volume, makeBase(base).path);
    change();
    const signature = `qcow2 overlay over ${JSON.stringify(base)} with data of its own`;
    for (const depth of DEPTHS) expect(await probe(depth)).toEqual({ kind: "data", signature });
    await expectRefusal("VOLUME_NOT_EMPTY");
  });

  it.each<[string, string, () => void]>([
    [
      "an internal snapshot",
      "internal snapshots",
      () => run("qemu-img", ["snapshot", "-c", "s", volume.path]),
    ],
    [
      "a persistent bitmap",
      "persistent bitmaps",
      () => run("qemu-img", ["bitmap", "--add", volume.path, "b"]),
    ],
    [
      "an external data file",
      "an external data file",
      () => makeOverlay(volume, base, { options: `data_file=${at("data.raw")}` }),
    ],
  ])("has %s", async (_, what, change) => {
    makeOverlay(volume, makeBase(base).path);
    change();
    expect(await probe("read")).toEqual({ kind: "data", signature: expect.stringContaining(what) as string });
    await expectRefusal("VOLUME_NOT_EMPTY");
  });

  it("has lost the table to its clusters, but not them", async () => {
    makeOverlay(volume, makeBase(base).path);
    plainly("write -P 1 0 64k");
    overwrite(volume, headerOf(volume).l1Table.offset, Buffer.alloc(8));
    expect(await probe("allocation-map")).toEqual({ kind: "allocated" });
    expect(await probe("read")).toMatchObject({ kind: "data" });
    await expectRefusal("VOLUME_NOT_EMPTY");
  });

  it("has data behind its last cluster", async () => {
    makeOverlay(volume, makeBase(base).path);
    truncateSync(volume.path, MIB);
    expect(await probe("allocation-map")).toEqual({ kind: "empty" });
    overwrite(volume, MIB - 1, Buffer.from("x"));
    expect(await probe("allocation-map")).toEqual({ kind: "allocated" });
    expect(await probe("read")).toMatchObject({ kind: "data" });
  });

  it.each<[string, number, string]>([
    ["whose place is within a cluster", 40, "0000000000030008"],
    ["behind the end of the file", 40, "0000000100000000"],
    ["at the header", 40, "0000000000000000"],
    ["larger than any", 36, "10000000"],
    ["too small for its size", 36, "00000000"],
  ])("has an L1 table %s", async (_, offset, hex) => {
    makeOverlay(volume, makeBase(base).path);
    overwrite(volume, offset, Buffer.from(hex, "hex"));
    for (const depth of DEPTHS) expect(await probe(depth)).toMatchObject({ kind: "unreadable" });
    await expectRefusal("VOLUME_UNREADABLE");
  });

  it.each<[string, number, string]>([
    ["table within a cluster", 48, "0000000000010200"],
    ["table that is larger than any", 56, "01000000"],
    ["block behind the end of the file", 65_536, "00000000ffff0000"],
  ])("has a refcount %s", async (_, offset, hex) => {
    makeOverlay(volume, makeBase(base).path);
    overwrite(volume, offset, Buffer.from(hex, "hex"));
    for (const depth of DEPTHS) expect(await probe(depth)).toMatchObject({ kind: "unreadable" });
    await expectRefusal("VOLUME_UNREADABLE");
  });

  it("was written to anywhere, in any way", { timeout: 60_000 * TIMES }, async () => {
    makeBase(base);
    const write = fc.record({
      command: fc.constantFrom("write -P 0", "write -P 9", "write -z", "write -z -u", "write -c -P 7"),
      cluster: fc.nat(127),
      options: fc.constantFrom("compat=0.10", "cluster_size=512", "extended_l2=on", "lazy_refcounts=on"),
    });
    await fc.assert(
      fc.asyncProperty(write, async ({ command, cluster, options }) => {
        makeOverlay(volume, base, { options });
        plainly(`${command} ${cluster * 65_536} 64k`);
        for (const depth of DEPTHS) expect(await probe(depth)).toMatchObject({ kind: "data" });
      }),
      programRuns(15),
    );
  });
});

function qemuIoWith(
  object: readonly string[],
  chain: QemuNode,
  commands: readonly string[],
  passphrase: Secret,
): void {
  withSecret(
    passphrase,
    (key) =>
      run("qemu-io", [
        ...commands.flatMap((command) => ["-c", command]),
        ...[...object, ...key, `json:${JSON.stringify(chain)}`],
      ]),
    "key",
  );
}

/** Lends QEMU's `--object` for a second passphrase. */
function withSecret<T>(passphrase: Secret, work: (object: readonly string[]) => T, id = "base-key"): T {
  const file = join("/dev/shm", `luksmith-test-${newKeyUuid()}`);
  passphrase.use((bytes) => writeFileSync(file, bytes));
  try {
    return work(["--object", `secret,id=${id},file=${file}`]);
  } finally {
    run("rm", ["--", file]);
  }
}
