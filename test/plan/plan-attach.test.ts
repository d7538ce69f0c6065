import { describe, expect, it } from "vitest";
import type { DiskMapping } from "../../src/disk-info/disk-info.js";
import { LuksmithError } from "../../src/error/luksmith-error.js";
import type { KeyRecord } from "../../src/generated/key-record.js";
import type { DiskFacts } from "../../src/plan/facts.js";
import type { AddedDisk, AttachFacts, ConfiguredDisk } from "../../src/plan/gather-attach.js";
import { planAttach } from "../../src/plan/plan-attach.js";
import { renderStep } from "../../src/plan/render.js";
import type { Step } from "../../src/plan/step.js";
import type { Probe } from "../../src/storage/storage-backend.js";
import {
  claim,
  disk,
  guestWith,
  header,
  known,
  mapped,
  NOW,
  over,
  plain,
  record,
  request,
  unknown,
  uuid,
} from "./builders.js";

const GUEST = guestWith(disk("vda", 1));
const luks = (n: number): Probe => ({ kind: "luks", header: header(n) });

interface About {
  readonly state?: AttachFacts["state"];
  readonly live?: AttachFacts["live"];
  readonly user?: AttachFacts["user"];
}

/** A disk of the configuration. */
function configured(fact: DiskFacts, about: About = {}): ConfiguredDisk {
  return {
    kind: "configured",
    fact,
    disk: fact.disk,
    uuid: undefined,
    state: "running",
    live: "none",
    user: undefined,
    ...about,
  };
}

/** Disk vdb on a volume that was named. */
function added(
  probe: Probe,
  more: Partial<AddedDisk> & { record?: KeyRecord } = {},
  provider?: "dm-crypt",
): AddedDisk {
  const { record: found, ...rest } = more;
  return {
    ...{
      kind: "added",
      disk: disk("vdb"),
      uuid: undefined,
      state: "running",
      live: "none",
      user: undefined,
      isConfigured: false,
    },
    protect: {
      ...{ disk: disk("vdb"), request: request("vdb"), probe, forbidden: undefined },
      ...{ provider: provider ?? "native", known: found && { keystore: "local", record: found } },
    },
    ...rest,
  };
}

function steps(facts: AttachFacts): Step[] {
  return planAttach(GUEST, facts, { now: NOW, newUuid: () => uuid(50) }).stages.flat();
}
const kinds = (facts: AttachFacts) => steps(facts).map(({ kind }) => kind);
const texts = (facts: AttachFacts) => `${steps(facts).map(renderStep).join("\n")}\n`;

function refusal(facts: AttachFacts): LuksmithError {
  try {
    steps(facts);
  } catch (thrown) {
    if (thrown instanceof LuksmithError) return thrown;
    throw thrown;
  }
  throw new Error("nothing was refused");
}

describe("attach with a volume", () => {
  const NEW = { kind: "empty" } as const;

  it("formats it before the configuration names it, and gives it to the running guest last", async () => {
    await expect(texts(added(NEW))).toMatchFileSnapshot("../golden/plans/attach-new.txt");
  });

  it("opens a mapping where dm-crypt is to decrypt it", async () => {
    await expect(texts(added(NEW, {}, "dm-crypt"))).toMatchFileSnapshot(
      "../golden/plans/attach-new-mapped.txt",
    );
    const opening = steps(added(NEW, {}, "dm-crypt")).find(({ kind }) => kind === "open-mapping");
    expect(opening).toMatchObject({
      uuid: uuid(50),
      volume: disk("vdb").volume,
      encryption: { format: "luks" },
    });
  });

  it("hands on the bus", () => {
    const step = steps(added(NEW, { bus: "scsi" })).find(({ kind }) => kind === "add-disk");
    expect(step).toEqual({ kind: "add-disk", disk: "vdb", volume: disk("vdb").volume, bus: "scsi" });
  });

  it("gives the host of a guest that is shut off nothing", () => {
    const stopped = added(NEW, { state: "stopped" });
    expect(kinds(stopped)).toEqual(["store-key", "format", "activate-key", "add-disk", "annotate"]);
  });

  it("takes a volume that is encrypted under a known key as it is", () => {
    expect(kinds(added(luks(7), { record: record(7, "vdb", "active") }))).toEqual([
      ...["add-disk", "annotate", "provide-secrets", "attach-disk"],
    ]);
  });

  it.each<[after: string, AddedDisk, string[]]>([
    [
      "its key was stored",
      added(NEW, { record: record(7, "vdb", "pending") }),
      ["format", "activate-key", "add-disk", "annotate", "provide-secrets", "attach-disk"],
    ],
    [
      "its volume was formatted",
      added(luks(7), { record: record(7, "vdb", "pending") }),
      ["format", "activate-key", "add-disk", "annotate", "provide-secrets", "attach-disk"],
    ],
    [
      "the configuration got it",
      added(luks(7), { record: record(7, "vdb", "active"), isConfigured: true }),
      ["annotate", "provide-secrets", "attach-disk"],
    ],
    [
      "the running guest got it, but its configuration lost it",
      added(luks(7), { record: record(7, "vdb", "active"), live: "same" }),
      ["add-disk", "annotate"],
    ],
  ])("goes on after %s", (_, facts, expected) => {
    expect(kinds(facts)).toEqual(expected);
  });

  it("never adds a disk to a configuration before its volume is encrypted", () => {
    for (const provider of [undefined, "dm-crypt"] as const) {
      const order = kinds(added(NEW, {}, provider));
      expect(order.indexOf("add-disk")).toBeGreaterThan(order.indexOf("activate-key"));
      expect(order.indexOf("activate-key")).toBeGreaterThan(order.indexOf("format"));
    }
  });

  it.each<[string, AddedDisk, string, RegExp]>([
    ["holds data", added({ kind: "data", signature: "ext4 file system" }), "VOLUME_NOT_EMPTY", /empty disk/],
    [
      "is an image, taken for raw",
      added({ kind: "data", signature: "qcow2 image" }),
      "VOLUME_NOT_EMPTY",
      /--format qcow2/,
    ],
    ["is not there", added({ kind: "absent" }), "VOLUME_NOT_FOUND", /allocate/],
    ["has a header whose key nobody has", added(luks(9)), "VOLUME_NOT_EMPTY", /key record/],
    [
      "has lost its header",
      added(NEW, { record: record(7, "vdb", "active") }),
      "VOLUME_NOT_FORMATTED",
      /backup/,
    ],
    [
      "is in the configuration already, in plain",
      added(NEW, { isConfigured: true }),
      "DISK_NOT_ENCRYPTED",
      /protect/,
    ],
  ])("refuses one that %s", (_, facts, code, hint) => {
    const error = refusal(facts);
    expect([error.code, error.hint]).toEqual([code, expect.stringMatching(hint)]);
    expect(error.message).toMatch(/vdb/);
  });
});

describe("attach without a volume", () => {
  it("opens a disk of the configuration and gives it to the guest", async () => {
    const facts = configured(known("vda", 1, "active", luks(1)));
    await expect(texts(facts)).toMatchFileSnapshot("../golden/plans/attach-configured.txt");
  });

  it("opens the mapping that the configuration names", () => {
    const facts = configured(mapped("vda", 1, "active", luks(1)));
    expect(steps(facts)).toMatchObject([
      { kind: "open-mapping", mapping: claim("vda", 1).name },
      { kind: "attach-disk" },
    ]);
  });

  it("formats a disk first that no start has formatted yet", () => {
    const fact = known("vda", 1, "pending", { kind: "empty" });
    expect(kinds(configured(fact))).toEqual(["format", "activate-key", "provide-secrets", "attach-disk"]);
    expect(kinds(configured(fact, { state: "stopped" }))).toEqual(["format", "activate-key"]);
  });

  it("provides the keys of what the disk lies over as well", () => {
    const base = { kind: "found", keystore: "local", record: record(8, "vdz", "active") } as const;
    const fact = over(known("vda", 1, "active", luks(1)), 8, base);
    expect(steps(configured(fact))[0]).toEqual({
      kind: "provide-secrets",
      secrets: [
        { disk: "vda", uuid: uuid(1) },
        { disk: "vda", uuid: uuid(8), opens: "base" },
      ],
    });
  });

  it("has nothing to do for a guest that is shut off", () => {
    expect(kinds(configured(known("vda", 1, "active", luks(1)), { state: "stopped" }))).toEqual([]);
  });

  it("has nothing to do where the running guest has it, whatever the keystore says", () => {
    const down = {
      kind: "unavailable",
      error: new LuksmithError("KEYSTORE_UNAVAILABLE", { what: "no" }),
    } as const;
    for (const key of [down, { kind: "unknown" } as const])
      expect(kinds(configured({ ...known("vda", 1, "active", luks(1)), key }, { live: "same" }))).toEqual([]);
  });

  const found = { kind: "found", keystore: "local", record: record(1, "vda", "active") } as const;
  const down = {
    kind: "unavailable",
    error: new LuksmithError("KEYSTORE_UNAVAILABLE", { what: "no" }),
  } as const;
  it.each<[string, DiskFacts, string, RegExp]>([
    [
      "is not encrypted",
      plain("vda"),
      "DISK_NOT_ENCRYPTED",
      /luksmith protect web1 --disk vda; .*virsh attach-device/,
    ],
    [
      "has lost its block",
      plain("vda", found, "qcow2"),
      "ENCRYPTION_BLOCK_LOST",
      /luksmith attach web1 vda \/srv\/vm\/vda.img --format qcow2/,
    ],
    [
      "has a block that names no secret",
      { ...plain("vda"), disk: { ...disk("vda"), encrypted: true } },
      "ENCRYPTION_BLOCK_FOREIGN",
      /virsh attach-device/,
    ],
    ["has somebody else's block", unknown("vda", 1, undefined, undefined), "KEY_NOT_FOUND", /its key/],
    [
      "has a key that cannot be asked for",
      { ...known("vda", 1, "active", luks(1)), key: down },
      "KEYSTORE_UNAVAILABLE",
      /^$/,
    ],
    ["has lost its volume", known("vda", 1, "active", { kind: "absent" }), "VOLUME_NOT_FOUND", /mounted/],
    ["has another header", known("vda", 1, "active", luks(2)), "LUKS_UUID_MISMATCH", /right volume/],
  ])("refuses a disk that %s", (_, fact, code, hint) => {
    const error = refusal(configured(fact));
    expect([error.code, error.hint ?? ""]).toEqual([code, expect.stringMatching(hint)]);
  });

  it("refuses a key that another disk of the guest has", () => {
    const guest = guestWith(disk("vda", 1), disk("vdb", 1));
    const facts = configured(known("vdb", 1, "active", luks(1)));
    expect(() => planAttach(guest, facts, { now: NOW, newUuid: () => uuid(50) })).toThrow(
      expect.objectContaining({ code: "GUEST_CONFIG_INVALID" }) as Error,
    );
  });
});

describe("whether it is new or not, attach refuses a disk", () => {
  const both = (about: About, mapping: Partial<DiskMapping> = {}): AttachFacts[] => {
    const fact = known("vdb", 1, "active", luks(1));
    return [
      configured({ ...fact, disk: { ...fact.disk, ...mapping } }, about),
      added({ kind: "empty" }, about),
    ];
  };

  it.each<[string, About, string, RegExp]>([
    ["whose name the running guest has for another one", { live: "other" }, "DISK_EXISTS", /disk vdb/],
    ["that the running guest has in plain", { live: "plain" }, "DISK_EXISTS", /without encryption/],
    [
      "whose volume a running guest has",
      { user: { guest: "web2", disk: "vdq", by: "volume" } },
      "VOLUME_BUSY",
      /disk vdq of guest web2 .*\/srv\/vm\/vdb.img/,
    ],
    [
      "whose key a running guest has",
      { user: { guest: "web2", disk: "vdq", by: "key" } },
      "KEY_IN_USE",
      /disk vdq of guest web2/,
    ],
  ])("%s", (_, about, code, what) => {
    for (const facts of both(about)) {
      const error = refusal(facts);
      expect([error.code, error.message]).toEqual([code, expect.stringMatching(what)]);
      expect(error.hint).not.toBe(undefined);
    }
  });
});
