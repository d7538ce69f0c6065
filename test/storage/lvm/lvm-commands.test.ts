import { createHash } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { LuksHeader } from "../../../src/encryption/luks-header.js";
import { LvActivation } from "../../../src/storage/lvm/lvm-activation.js";
import { allocateLv, type AllocationPlace } from "../../../src/storage/lvm/lvm-allocate.js";
import { growLv } from "../../../src/storage/lvm/lvm-grow.js";
import { dependentsOf, reportLv } from "../../../src/storage/lvm/lvm-report.js";
import { VolumeLocks } from "../../../src/storage/volume-lock.js";
import { type FakeAnswer, FakeLvm } from "../../fake/fake-lvm.js";
import { RecordingCommandRunner } from "../../fake/recording-command-runner.js";
import { codeOf, MIB } from "../workshop.js";

const LV = { group: "vg", volume: "a-b" };
const PATH = "/dev/vg/a-b";
const HEADER = { payloadOffset: 2 * MIB } as LuksHeader;
const LVS = "lvs --reportformat json --units b --nosuffix";
const REPORT = `${LVS} -a -o lv_uuid,lv_size,lv_active,lv_layout,lv_role,vg_extent_size,data_stripes -- vg/a-b`;
const TEMPORARY = `luksmith-unfinished-${createHash("sha256").update("a-b").digest("hex").slice(0, 16)}`;
const UNFINISHED = REPORT.replace("vg/a-b", `vg/${TEMPORARY}`);
const LVCREATE = "lvcreate --yes --type linear --wipesignatures y --zero y";
const NONE: FakeAnswer = { exitCode: 5, stderr: '  Failed to find logical volume "vg/a-b"\n' };

let directory: string;
let runner: RecordingCommandRunner;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "luksmith-lvm-"));
});
afterEach(() => rmSync(directory, { recursive: true }));

function lvm(answers: Readonly<Record<string, readonly FakeAnswer[]>>) {
  runner = new RecordingCommandRunner(new FakeLvm(answers));
  return { runner, locks: new VolumeLocks(runner, directory) };
}

/** Without the locks. */
const commands = () => runner.lines.filter((line) => !line.startsWith("flock"));

const FIELDS = {
  lv_uuid: "qqyaIU-iOkc-YfeI-VbdI-B9Hl-kJeg-P4IwYV",
  lv_size: String(8 * MIB),
  lv_active: "active",
  lv_layout: "linear",
  lv_role: "public",
  vg_extent_size: String(4 * MIB),
  data_stripes: "1",
};

function report(...rows: readonly Partial<typeof FIELDS>[]): string {
  return JSON.stringify({ report: [{ lv: rows.map((row) => ({ ...FIELDS, ...row })) }], log: [] });
}

describe("lvs", () => {
  it("is asked in bytes and JSON, and read", async () => {
    const { runner } = lvm({ lvs: [report({ lv_layout: "thin,sparse", data_stripes: "0", lv_active: "" })] });
    expect(await reportLv(runner, LV)).toEqual({
      uuid: FIELDS.lv_uuid,
      size: BigInt(8 * MIB),
      extent: BigInt(4 * MIB),
      isActive: false,
      layout: new Set(["thin", "sparse"]),
      role: new Set(["public"]),
    });
    expect(commands()).toEqual([REPORT]);
  });

  it("may have a row for each segment: a volume grows at its end", async () => {
    const { runner } = lvm({ lvs: [report({}, { data_stripes: "3" })] });
    expect((await reportLv(runner, LV))?.extent).toBe(BigInt(12 * MIB));
  });

  it.each([
    NONE,
    { exitCode: 5, stderr: '  Volume group "vg" not found\n  Cannot process volume group vg\n' },
  ])("says that there is no such volume: %o", async (answer) => {
    const { runner } = lvm({ lvs: [answer] });
    expect(await reportLv(runner, LV)).toBeUndefined();
  });

  it("fails with all that LVM said but warnings", async () => {
    const stderr = "  WARNING: it rains.\n  Cannot access VG vg.\n  File descriptor 9 leaked\n  Skipping.\n";
    const { runner } = lvm({ lvs: [{ exitCode: 5, stderr }] });
    await expect(reportLv(runner, LV)).rejects.toMatchObject({
      code: "TOOL_FAILED",
      why: "Cannot access VG vg.; Skipping.",
    });
  });

  it("counts snapshots", async () => {
    const { runner } = lvm({ lvs: [report({}, {})] });
    expect(await dependentsOf(runner, PATH, LV)).toBe(2);
    expect(commands()).toEqual([`${LVS} -o lv_name -S origin="a-b" -- vg`]);
  });
});

describe("lvextend", () => {
  const grow = (ports: Parameters<typeof growLv>[3], guestSize: number) =>
    growLv(PATH, LV, { header: HEADER, guestSize: BigInt(guestSize) }, ports);

  it("is told the bytes of guest and header together, and the guest has what came of it", async () => {
    const ports = lvm({ lvs: [report({}), report({ lv_size: String(12 * MIB) })], lvextend: [""] });
    expect(await grow(ports, 7 * MIB + 1)).toBe(BigInt(10 * MIB));
    expect(commands()).toEqual([REPORT, `lvextend --size ${9 * MIB + 512}b -- vg/a-b`, REPORT]);
  });

  it.each([6 * MIB, 6 * MIB - 512, 2 * MIB + 1])(
    "is not needed for %i bytes: an extent has more",
    async (size) => {
      expect(await grow(lvm({ lvs: [report({})] }), size)).toBe(BigInt(6 * MIB));
      expect(commands()).toEqual([REPORT]);
    },
  );

  it("is never told to make a volume smaller", async () => {
    expect(await codeOf(grow(lvm({ lvs: [report({})] }), 2 * MIB))).toBe("VOLUME_WOULD_SHRINK");
  });

  it("is not told to enlarge a snapshot, of which it would enlarge the store", async () => {
    const ports = lvm({ lvs: [report({ lv_role: "public,snapshot,thicksnapshot" })] });
    expect(await codeOf(grow(ports, 7 * MIB))).toBe("VOLUME_GROW_FAILED");
  });

  it("says why it cannot", async () => {
    const stderr = "  Insufficient free space: 10 extents needed, but only 5 available\n";
    const ports = lvm({ lvs: [report({})], lvextend: [{ exitCode: 5, stderr }] });
    await expect(grow(ports, 7 * MIB)).rejects.toMatchObject({
      code: "VOLUME_GROW_FAILED",
      why: stderr.trim(),
    });
  });

  it("is not called for a volume that is not there", async () => {
    expect(await codeOf(grow(lvm({ lvs: [NONE] }), 7 * MIB))).toBe("VOLUME_NOT_FOUND");
  });
});

describe("lvcreate", () => {
  const allocate = (ports: Parameters<typeof allocateLv>[4], place: AllocationPlace) =>
    allocateLv(PATH, LV, BigInt(5 * MIB), place, ports);
  const thin = { kind: "thin-pool", pool: "pool" } as const;

  it("makes a thin volume of guest and header together", async () => {
    expect(await allocate(lvm({ lvs: [NONE, report({})], lvcreate: [""] }), thin)).toBe(BigInt(8 * MIB));
    expect(commands()).toEqual([
      REPORT,
      `lvcreate --yes --type thin --thinpool pool --virtualsize ${7 * MIB}b --name a-b -- vg`,
      REPORT,
    ]);
  });

  it("makes a thick volume that nobody can take for what was there, and takes it away if it cannot be cleared", async () => {
    // here there is no device, so that it cannot
    const ports = lvm({ lvs: [NONE, NONE, report({})], lvcreate: [""], lvremove: [""] });
    expect(await codeOf(allocate(ports, { kind: "group" }))).toBe("VOLUME_ALLOCATE_FAILED");
    expect(commands()).toEqual([
      REPORT,
      UNFINISHED,
      `${LVCREATE} --addtag luksmith.unfinished --size ${7 * MIB}b --name ${TEMPORARY} -- vg`,
      UNFINISHED,
      `lvremove --yes --select lv_uuid=${FIELDS.lv_uuid} -- vg`,
    ]);
  });

  it("comes after what a killed try has left was removed, if it is that", async () => {
    const ports = lvm({ lvs: [NONE, report({}), report({})], lvcreate: [""], lvremove: [""] });
    await codeOf(allocate(ports, { kind: "group" }));
    expect(commands()[2]).toBe(
      `lvremove --yes --select lv_uuid=${FIELDS.lv_uuid} && lv_tags=luksmith.unfinished -- vg`,
    );
  });

  it("does not take another one's temporary volume for the one in question", async () => {
    const stderr = `  Logical Volume "${TEMPORARY}" already exists in volume group "vg"\n`;
    const ports = lvm({ lvs: [NONE], lvcreate: [{ exitCode: 5, stderr }] });
    expect(await codeOf(allocate(ports, { kind: "group" }))).toBe("VOLUME_ALLOCATE_FAILED");
  });

  it("is not called where there is one already, and may find that out itself", async () => {
    expect(await codeOf(allocate(lvm({ lvs: [report({})] }), thin))).toBe("VOLUME_EXISTS");
    const stderr = '  Logical Volume "a-b" already exists in volume group "vg"\n';
    const late = lvm({ lvs: [NONE], lvcreate: [{ exitCode: 5, stderr }] });
    expect(await codeOf(allocate(late, thin))).toBe("VOLUME_EXISTS");
  });

  it("says why it cannot, without its hint at the manual", async () => {
    const stderr =
      '  Names starting "pvmove" are reserved.\n  Run `lvcreate --help\' for more information.\n';
    const ports = lvm({ lvs: [NONE], lvcreate: [{ exitCode: 3, stderr }] });
    await expect(allocate(ports, thin)).rejects.toMatchObject({
      code: "VOLUME_ALLOCATE_FAILED",
      why: 'Names starting "pvmove" are reserved.',
    });
  });
});

describe("lvchange", () => {
  const use = ({ runner, locks }: ReturnType<typeof lvm>) => new LvActivation(runner, locks).use(PATH, LV);

  it("activates what is inactive, and deactivates it again where no device came of that", async () => {
    const ports = lvm({ lvs: [report({ lv_active: "" })], lvchange: [""] });
    expect(await codeOf(use(ports))).toBe("VOLUME_UNREADABLE");
    expect(commands()).toEqual([
      REPORT,
      "lvchange --activate y --ignoreactivationskip -- vg/a-b",
      "lvchange --activate n -- vg/a-b",
    ]);
  });

  it("says why it cannot, and leaves it to others to try", async () => {
    const stderr = "  WARNING: missing\n  Refusing activation of partial LV vg/a-b.\n";
    const ports = lvm({ lvs: [report({ lv_active: "" })], lvchange: [{ exitCode: 5, stderr }] });
    await expect(use(ports)).rejects.toMatchObject({
      code: "VOLUME_UNREADABLE",
      why: "LVM cannot activate it: Refusing activation of partial LV vg/a-b.",
    });
    expect(await ports.locks.isShared("users of logical volume vg/a-b")).toBe(false);
  });

  it("is not called for a volume that is active and whose device is not there, nor for none at all", async () => {
    expect(await codeOf(use(lvm({ lvs: [report({})] })))).toBe("VOLUME_UNREADABLE");
    expect(await codeOf(use(lvm({ lvs: [NONE] })))).toBe("VOLUME_NOT_FOUND");
  });
});
