import { describe, expect, it } from "vitest";
import { LuksFormatter } from "../../../src/encryption/luks-formatter.js";
import type { CommandRunner } from "../../../src/exec/command-runner.js";
import { ExecaCommandRunner } from "../../../src/exec/command-runner.js";
import { findTool } from "../../../src/exec/tools.js";
import type { Probe } from "../../../src/storage/storage-backend.js";
import { VolumeLocks } from "../../../src/storage/volume-lock.js";
import { ZfsBackend } from "../../../src/storage/zfs/zfs.js";
import { datasetOf } from "../../../src/storage/zfs/zfs-dataset.js";
import { ScriptedZfs, type ZfsAnswer } from "../../fake/scripted-zfs.js";
import { codeOf, MIB } from "../workshop.js";

const NAME = "luksmith-no-pool/vm 1/disk";
const volume = { kind: "block", path: "/dev/zvol/luksmith-no-pool/vm+1/disk", format: "raw" } as const;
const GET = "zfs get -Hp -o property,value";

const backendOn = (runner: CommandRunner) =>
  new ZfsBackend(runner, new LuksFormatter(runner), new VolumeLocks(runner, "/nowhere"), 100);

describe("the dataset of a path", () => {
  it.each([
    ["/dev/zvol/tank/vm-100-disk-0", "tank/vm-100-disk-0"],
    ["/dev/zvol/rpool/data/a/b", "rpool/data/a/b"],
    ["/dev/zvol/tank/with+two+spaces", "tank/with two spaces"],
    ["/dev/zvol/t/-rf", "t/-rf"],
    ["/dev/zvol/t.-_:9/.../..x", "t.-_:9/.../..x"],
  ])("%s is %s", (path, name) => expect(datasetOf(path)).toBe(name));

  it.each([
    "/dev/zvol/tank",
    "/dev/zvol/tank/",
    "/dev/zvol/tank/a/",
    "/dev/zvol/tank//a",
    "/dev/zvol/tank/../sda",
    "/dev/zvol/tank/./a",
    "/dev/zvol/tank/a/..",
    "/dev/zvol/-tank/a",
    "/dev/zvol/9tank/a",
    "/dev/zvol/tank/a@snapshot",
    "/dev/zvol/tank/a#bookmark",
    "/dev/zvol/tank/a/%recv",
    "/dev/zvol/tank/a b",
    "/dev/zvol/tank/a\n",
    "/dev/zvol/tank/ключ",
    "/dev/zd0",
    "/srv/dev/zvol/tank/a",
    "dev/zvol/tank/a",
  ])("%j has none", (path) => expect(datasetOf(path)).toBeUndefined());
});

describe("zfs accepts", () => {
  const backend = backendOn(new ScriptedZfs());

  it("raw volumes under /dev/zvol, and starts no process for it", async () => {
    expect(await backend.accepts(volume)).toBe(true);
    expect(await backend.accepts({ ...volume, path: `${volume.path}-part1` })).toBe(true);
  });

  it("nothing else", async () => {
    expect(await backend.accepts({ ...volume, path: "/dev/sda" })).toBe(false);
    expect(await backend.accepts({ ...volume, format: "qcow2" })).toBe(false);
    expect(await backend.accepts({ ...volume, kind: "file" })).toBe(false);
    expect(await backend.accepts({ kind: "none" })).toBe(false);
  });
});

describe("a volume that has no device", () => {
  const properties = (changed: Readonly<Record<string, string>>) => {
    const all = { type: "volume", volmode: "default", keystatus: "none", readonly: "off", ...changed };
    return Object.entries(all)
      .map((pair) => `${pair.join("\t")}\n`)
      .join("");
  };

  async function probeWith(answer: ZfsAnswer): Promise<Probe> {
    const zfs = new ScriptedZfs(answer);
    const probe = await backendOn(zfs).probe(volume, "header");
    expect(zfs.lines).toEqual([`${GET} type,volmode,keystatus,readonly ${NAME}`]);
    return probe;
  }

  it.each<[string, ZfsAnswer]>([
    ["ZFS does not have it, or its pool", { fails: `cannot open '${NAME}': dataset does not exist` }],
    ["ZFS is not there to be asked", { throws: "TOOL_MISSING" }],
    ["ZFS does not answer", { throws: "TOOL_TIMEOUT" }],
  ])("is absent where %s", async (_why, answer) => {
    expect(await probeWith(answer)).toEqual({ kind: "absent" });
  });

  it.each([
    [{ volmode: "none" }, /volmode is none/],
    [{ keystatus: "unavailable" }, /key of its ZFS encryption is not loaded/],
    [{ type: "filesystem", volmode: "none" }, /is a filesystem of ZFS and no volume/],
    [{}, /ZFS has the volume, and it has no device/],
  ])("is unreadable, and says why, where ZFS has it: %j", async (changed, reason) => {
    expect(await probeWith({ says: properties(changed) })).toEqual({
      kind: "unreadable",
      reason: expect.stringMatching(reason) as string,
    });
  });
});

describe("allocate", () => {
  const create = `zfs create -s -o volmode=dev -V ${3 * MIB} ${NAME}`;
  const allocate = (zfs: CommandRunner, more = {}) =>
    backendOn(zfs).allocate({ volume, guestSize: BigInt(MIB), ...more });

  it("removes the volume again when no device of it appears", async () => {
    const sizes = `volsize\t${3 * MIB}\nvolblocksize\t16384\n`;
    const zfs = new ScriptedZfs({ says: "" }, { says: sizes }, { says: "" });
    expect(await codeOf(allocate(zfs))).toBe("VOLUME_ALLOCATE_FAILED");
    expect(zfs.lines).toEqual([create, `${GET} volsize,volblocksize ${NAME}`, `zfs destroy ${NAME}`]);
  });

  it("removes the volume again when ZFS does not tell its size, and says so when it cannot", async () => {
    const zfs = new ScriptedZfs(
      { says: "" },
      { says: "volsize\t-\nvolblocksize\t-\n" },
      { fails: `cannot destroy '${NAME}': dataset is busy` },
    );
    await expect(allocate(zfs)).rejects.toMatchObject({
      code: "VOLUME_UNREADABLE",
      why: `zfs told no volsize of it; what was made could not be removed again: cannot destroy '${NAME}': dataset is busy`,
      hint: `zfs destroy '${NAME}'`,
    });
  });

  it.each([
    ["VOLUME_EXISTS", "dataset already exists"],
    ["VOLUME_ALLOCATE_FAILED", "out of space"],
    ["VOLUME_ALLOCATE_FAILED", "parent does not exist"],
    ["VOLUME_ALLOCATE_FAILED", "pool I/O is currently suspended"],
  ])("is %s when zfs says: %s", async (code, message) => {
    const zfs = new ScriptedZfs({ fails: `cannot create '${NAME}': ${message}` });
    expect(await codeOf(allocate(zfs))).toBe(code);
    expect(zfs.lines).toEqual([create]);
  });

  it("refuses a pool that the path does not name", async () => {
    const zfs = new ScriptedZfs();
    expect(await codeOf(allocate(zfs, { pool: "other" }))).toBe("VOLUME_UNSUPPORTED");
    expect(zfs.lines).toEqual([]);
  });

  it("removes nothing when it is not known whether there is a volume", async () => {
    const zfs = new ScriptedZfs({ throws: "TOOL_TIMEOUT" });
    expect(await codeOf(allocate(zfs))).toBe("TOOL_TIMEOUT");
    expect(zfs.lines).toEqual([create]);
  });

  it("names the package where the tool is missing", async () => {
    expect(findTool("zfs"), "this test is for machines without ZFS").toBeUndefined();
    await expect(allocate(new ExecaCommandRunner())).rejects.toMatchObject({
      code: "TOOL_MISSING",
      hint: "apt-get install zfsutils-linux",
    });
  });
});
