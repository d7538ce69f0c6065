import { describe, expect, it } from "vitest";
import { LuksmithError } from "../../src/error/luksmith-error.js";
import type { DiskFacts } from "../../src/plan/facts.js";
import type { DiskSizes, GrowFacts } from "../../src/plan/gather-grow.js";
import { planGrow, type WantedSize } from "../../src/plan/plan-grow.js";
import { renderStep } from "../../src/plan/render.js";
import type { Step } from "../../src/plan/step.js";
import { disk, guestWith, header, known, plain, record, unknown, uuid } from "./builders.js";

const MIB = 1024n ** 2n;
const GUEST = guestWith(disk("vda", 1));
const luks = (n: number) => ({ kind: "luks", header: header(n) }) as const;
const ENCRYPTED = known("vda", 1, "active", luks(1));
const total = (bytes: bigint): WantedSize => ({ kind: "total", bytes });
const more = (bytes: bigint): WantedSize => ({ kind: "more", bytes });
const ALL: WantedSize = { kind: "all" };

function facts(sizes: Partial<DiskSizes> = {}, guest: GrowFacts["guest"] = "stopped"): GrowFacts {
  return { disk: ENCRYPTED, guest, sizes: { volume: 6n * MIB, guest: 6n * MIB, extent: 512n, ...sizes } };
}

function steps(grow: GrowFacts, wanted: WantedSize): Step[] {
  return planGrow(GUEST, grow, wanted).stages.flat();
}

function refusal(grow: GrowFacts, wanted: WantedSize): LuksmithError {
  try {
    planGrow(GUEST, grow, wanted);
  } catch (thrown) {
    if (thrown instanceof LuksmithError) return thrown;
    throw thrown;
  }
  throw new Error("nothing was refused");
}

describe("grow", () => {
  it.each<[string, WantedSize, bigint]>([
    ["a size", total(10n * MIB), 10n * MIB],
    ["a size that ends within a sector", total(10n * MIB + 1n), 10n * MIB + 512n],
    ["more than now", more(4n * MIB), 10n * MIB],
  ])("enlarges the disk to %s", (_, wanted, to) => {
    expect(steps(facts(), wanted)).toEqual([
      {
        ...{ kind: "grow", disk: "vda", volume: disk("vda").volume, uuid: uuid(1) },
        ...{ guest: "stopped", from: Number(6n * MIB), to: Number(to) },
      },
    ]);
  });

  it.each(["stopped", "running"] as const)("reads well for a guest that is %s", async (guest) => {
    const text = steps(facts({}, guest), total(10n * MIB))
      .map(renderStep)
      .join("\n");
    await expect(`${text}\n`).toMatchFileSnapshot(`../golden/plans/grow-${guest}.txt`);
  });

  it.each<[string, WantedSize]>([
    ["as much", total(6n * MIB)],
    ["as much, but for a part of a sector", total(6n * MIB - 511n)],
    ["all", ALL],
  ])("has nothing to do when the guest sees %s", (_, wanted) => {
    for (const guest of ["stopped", "running"] as const) expect(steps(facts({}, guest), wanted)).toEqual([]);
  });

  describe("a volume that has grown while its guest runs, and was not told", () => {
    const grown = facts({ volume: 10n * MIB }, "running");

    it.each<[string, WantedSize, bigint]>([
      ["all of it", ALL, 10n * MIB],
      ["by its size", total(10n * MIB), 10n * MIB],
      ["by what is more", more(4n * MIB), 10n * MIB],
      ["and grows further", total(12n * MIB), 12n * MIB],
    ])("is shown to the guest, %s", (_, wanted, to) => {
      expect(steps(grown, wanted)).toMatchObject([{ from: Number(6n * MIB), to: Number(to) }]);
    });

    it("cannot be shown in part", () => {
      const { code, hint } = refusal(grown, total(8n * MIB));
      expect(code).toBe("VOLUME_WOULD_SHRINK");
      expect(hint).toContain("or none");
    });
  });

  describe("storage that rounds up", () => {
    const extent = 4n * MIB;
    const rounded = facts({ volume: 10n * MIB, guest: 10n * MIB, extent });

    it("is not asked again for what it has rounded up already", () => {
      expect(steps(rounded, total(9n * MIB))).toEqual([]);
      expect(steps(rounded, total(6n * MIB + 512n))).toEqual([]);
      expect(refusal(rounded, total(6n * MIB)).code).toBe("VOLUME_WOULD_SHRINK");
    });

    it("lets the guest see all of what it has rounded up before it was killed", () => {
      const killed = facts({ volume: 10n * MIB, extent }, "running");
      expect(steps(killed, total(9n * MIB))).toMatchObject([{ to: Number(10n * MIB) }]);
    });
  });

  it.each(["stopped", "running"] as const)("never takes a byte from a guest that is %s", (guest) => {
    for (const size of [1n, MIB, 6n * MIB - 512n]) {
      const { code, message, why } = refusal(facts({}, guest), total(size));
      expect(code).toBe("VOLUME_WOULD_SHRINK");
      expect(message).toContain("disk vda");
      expect(why).toContain("6 MiB");
    }
    expect(steps(facts({ volume: 5n * MIB }, guest), ALL)).not.toMatchObject([{ to: Number(5n * MIB) }]);
  });
});

describe("grow refuses a disk that", () => {
  const down = new LuksmithError("KEYSTORE_UNAVAILABLE", { what: "keystore local does not answer" });
  const ours = { kind: "found", keystore: "local", record: record(1, "vda", "active") } as const;
  it.each<[string, DiskFacts, string, string]>([
    ["is not encrypted", plain("vda"), "DISK_NOT_ENCRYPTED", "qemu-img resize -f raw /srv/vm/vda.img"],
    ["has lost its encryption block", plain("vda", ours), "ENCRYPTION_BLOCK_LOST", "luksmith protect web1"],
    [
      "has a block that names no secret",
      { ...plain("vda"), disk: { ...disk("vda"), encrypted: true } },
      "ENCRYPTION_BLOCK_FOREIGN",
      "what encrypted it",
    ],
    ["has a key that nobody knows", unknown("vda", 1, undefined, undefined), "KEY_NOT_FOUND", "its key"],
    [
      "is new",
      known("vda", 1, "pending", { kind: "empty" }),
      "DISK_NOT_ENCRYPTED",
      "qemu-img resize -f raw /srv/vm/vda.img",
    ],
    ["is thick and new", known("vda", 1, "pending", { kind: "allocated" }), "DISK_NOT_ENCRYPTED", ""],
    ["has lost its header", known("vda", 1, "active", { kind: "empty" }), "VOLUME_NOT_FORMATTED", ""],
    ["has another's header", known("vda", 1, "active", luks(2)), "LUKS_UUID_MISMATCH", ""],
    ["has another's header while pending", known("vda", 1, "pending", luks(2)), "LUKS_UUID_MISMATCH", ""],
    ["is gone", known("vda", 1, "active", { kind: "absent" }), "VOLUME_NOT_FOUND", ""],
    [
      "has a damaged header",
      known("vda", 1, "active", { kind: "bad-luks", reason: "cut off", claimedUuid: uuid(1) }),
      "LUKS_HEADER_INVALID",
      "",
    ],
    [
      "has a key that cannot be asked for",
      { ...ENCRYPTED, key: { kind: "unavailable", error: down } },
      "KEYSTORE_UNAVAILABLE",
      "",
    ],
  ])("%s", (_, fact, code, hint) => {
    const error = refusal({ disk: fact, guest: "stopped", sizes: undefined }, ALL);
    expect(error.code).toBe(code);
    expect(error.message).toMatch(/^cannot grow a disk of guest web1: .*disk vda/);
    expect(error.hint ?? "").toContain(hint);
  });

  it("no disk that librbd decrypts for a guest that runs", () => {
    const options = { encryption_options: { engine: "librbd" } };
    const librbd = { ...ENCRYPTED, disk: { ...ENCRYPTED.disk, ...options } };
    const error = refusal({ ...facts({}, "running"), disk: librbd }, total(10n * MIB));
    expect(error).toMatchObject({
      code: "GUEST_RUNNING",
      hint: "shut the guest down first: virsh shutdown web1",
    });
    expect(steps({ ...facts(), disk: librbd }, total(10n * MIB))).toHaveLength(1);
    expect(steps({ ...facts({}, "running"), disk: librbd }, total(6n * MIB))).toEqual([]);
  });

  it("no disk that is pending and has its header: its keystore is an older one", () => {
    const fact = known("vda", 1, "pending", luks(1));
    expect(steps({ ...facts(), disk: fact }, total(10n * MIB))).toHaveLength(1);
  });
});
