import { describe, expect, it } from "vitest";
import { LuksmithError } from "../../src/error/luksmith-error.js";
import type { DiskMapping } from "../../src/disk-info/disk-info.js";
import type { ProtectFacts } from "../../src/plan/gather-protect.js";
import { planProtect, type ProtectOptions } from "../../src/plan/plan-protect.js";
import { refuseUnannotated } from "../../src/plan/refusals.js";
import type { KeyRecord } from "../../src/generated/key-record.js";
import type { Probe } from "../../src/storage/storage-backend.js";
import type { Volume } from "../../src/storage/volume.js";
import { disk, guestWith, header, NOW, record, request, uuid } from "./builders.js";

const GUEST = guestWith(disk("vda"));

function options(format: ProtectOptions["format"]): ProtectOptions {
  let next = 50;
  return { format, now: NOW, newUuid: () => uuid(next++) };
}

function facts(dev: string, probe: Probe, keyed?: { annotated?: number; known?: KeyRecord }): ProtectFacts {
  const known = keyed?.known && { keystore: "local", record: keyed.known };
  return {
    disk: disk(dev, keyed?.annotated),
    request: request(dev),
    probe,
    known,
    forbidden: undefined,
    provider: "native",
  };
}

const kinds = (...all: ProtectFacts[]) =>
  planProtect(GUEST, all, options("at-next-start")).stages.map((s) => s.map((x) => x.kind));
const kindsNow = (...all: ProtectFacts[]) =>
  planProtect(GUEST, all, options("now"))
    .stages.flat()
    .map((x) => x.kind);
const luks = (n: number): Probe => ({ kind: "luks", header: header(n) });
const code = (expected: string) => expect.objectContaining({ code: expected }) as Error;

describe("protect for dm-crypt", () => {
  const byDmCrypt = (fact: ProtectFacts): ProtectFacts => ({ ...fact, provider: "dm-crypt" });
  const annotation = (...all: ProtectFacts[]) =>
    planProtect(GUEST, all, options("now"))
      .stages.flat()
      .find(({ kind }) => kind === "annotate");
  const volume = { kind: "file", path: "/srv/vm/vda.img", format: "raw" };

  it("lets the disk name a mapping over its volume", () => {
    const name = `luksmith-vda.img-${uuid(50)}`;
    expect(annotation(byDmCrypt(facts("vda", { kind: "empty" })))).toEqual({
      kind: "annotate",
      blocks: [{ disk: "vda", uuid: uuid(50), mapping: { name, format: "luks", volume } }],
    });
  });

  it("calls the mapping of a plain volume as Nova did, and proves its volume empty", () => {
    const fact = byDmCrypt(facts("vda", { kind: "empty" }));
    const plain = { ...fact, request: { ...fact.request, format: "plain" as const } };
    expect(annotation(plain)).toMatchObject({
      blocks: [{ mapping: { name: "vda.img-dmcrypt", format: "plain" } }],
    });
    expect(planProtect(GUEST, [plain], options("now")).stages[2]).toMatchObject([
      { kind: "format", provider: "dm-crypt", record: { encryption: { format: "plain" } } },
    ]);
  });

  it("leaves a plain disk alone that is in use, and refuses one whose key was made for another volume", () => {
    const key = record(1, "vda", "active");
    const plain = { ...key, encryption: { ...key.encryption, format: "plain" as const } };
    const fact = byDmCrypt(
      facts("vda", { kind: "data", signature: undefined }, { annotated: 1, known: plain }),
    );
    const disk = { ...fact.disk, encryption_format: "plain" as const, mapping: "vda.img-dmcrypt" };
    expect(planProtect(GUEST, [{ ...fact, disk }], options("now")).stages).toEqual([]);
    const moved = { ...disk, volume: { ...volume, path: "/srv/vm/other.img" } as DiskMapping["volume"] };
    expect(() => planProtect(GUEST, [{ ...fact, disk: moved }], options("now"))).toThrow();
  });

  it("refuses two plain disks that would get one mapping", () => {
    const of = (dev: string, path: string) => {
      const fact = byDmCrypt(facts(dev, { kind: "empty" }));
      const disk = { ...fact.disk, volume: { kind: "block", path, format: "raw" } as const };
      return { ...fact, disk, request: { ...fact.request, format: "plain" as const } };
    };
    const disks = [of("vda", "/dev/vg1/disk"), of("vdb", "/dev/vg2/disk")];
    expect(() => planProtect(GUEST, disks, options("now"))).toThrow("same mapping disk-dmcrypt");
  });

  it("replaces an encryption block by a mapping and back, and does nothing else", () => {
    const native = facts("vda", luks(1), { annotated: 1, known: record(1, "vda", "active") });
    const name = `luksmith-vda.img-${uuid(1)}`;
    const mapping = { name, format: "luks", volume } as const;
    const blocks = [{ disk: "vda", uuid: uuid(1), mapping }];
    const replaced = [{ disk: "vda", uuid: uuid(1) }];
    expect(planProtect(GUEST, [byDmCrypt(native)], options("now")).stages).toEqual([
      [{ kind: "annotate", blocks, replaced }],
    ]);
    const mapped = { ...native, disk: { ...native.disk, mapping: name } };
    expect(planProtect(GUEST, [mapped], options("now")).stages).toEqual([
      [{ kind: "annotate", blocks: replaced, replaced: blocks }],
    ]);
    expect(planProtect(GUEST, [byDmCrypt(mapped)], options("now")).stages).toEqual([]);
  });
});

describe("protect", () => {
  it("stores every key before it annotates the guest, and leaves the format to the next start", () => {
    expect(kinds(facts("vda", { kind: "empty" }), facts("vdb", { kind: "empty" }))).toEqual([
      ["store-key", "store-key"],
      ["annotate"],
    ]);
  });

  it("formats and activates at once when told to", () => {
    expect(kindsNow(facts("vda", { kind: "empty" }))).toEqual([
      "store-key",
      "annotate",
      "format",
      "activate-key",
    ]);
  });

  it("gives every disk a key of its own", () => {
    const plan = planProtect(
      GUEST,
      [facts("vda", { kind: "empty" }), facts("vdb", { kind: "empty" })],
      options("now"),
    );
    const annotate = plan.stages.flat().find((step) => step.kind === "annotate");
    expect(annotate?.blocks).toEqual([
      { disk: "vda", uuid: uuid(50) },
      { disk: "vdb", uuid: uuid(51) },
    ]);
  });

  it("writes down which engine was chosen for a disk", () => {
    const chosen: ProtectFacts = { ...facts("vda", { kind: "empty" }), engine: "librbd" };
    const plan = planProtect(GUEST, [chosen, facts("vdb", { kind: "empty" })], options("now"));
    expect(plan.stages.flat().find((step) => step.kind === "annotate")?.blocks).toEqual([
      { disk: "vda", uuid: uuid(50), engine: "librbd" },
      { disk: "vdb", uuid: uuid(51) },
    ]);
  });

  it("has nothing to do for a disk that is protected", () => {
    expect(kindsNow(facts("vda", luks(1), { annotated: 1, known: record(1, "vda", "active") }))).toEqual([]);
    expect(
      kinds(facts("vda", { kind: "empty" }, { annotated: 1, known: record(1, "vda", "pending") })),
    ).toEqual([]);
  });

  it("formats with --now what an earlier run left pending", () => {
    const pending = facts("vda", { kind: "empty" }, { annotated: 1, known: record(1, "vda", "pending") });
    expect(kindsNow(pending)).toEqual(["format", "activate-key"]);
  });

  it("goes on with the key of a run that was killed before it annotated", () => {
    expect(kinds(facts("vda", { kind: "empty" }, { known: record(1, "vda", "pending") }))).toEqual([
      ["annotate"],
    ]);
  });

  describe.each<[string, Partial<KeyRecord>]>([
    ["another guest", { guest: { id: "99999999-2222-4333-8444-555555555555", name: "c1" } }],
    ["another volume", { volume: "/srv/old.img" }],
  ])("with a pending key of %s", (whose, other) => {
    const pending = { ...record(1, "vda", "pending"), ...other };
    const disk = facts("vda", { kind: "empty" }, { annotated: 1, known: pending });
    const isGuests = whose === "another volume";

    it("does not promise a format that the start would refuse", () => {
      expect(() => kinds(disk)).toThrow(code("KEY_IN_USE"));
    });

    it(`${isGuests ? "formats the volume" : "formats nothing"} when the administrator says now`, () => {
      if (isGuests) expect(kindsNow(disk)).toEqual(["format", "activate-key"]);
      else expect(() => kindsNow(disk)).toThrow(code("KEY_IN_USE"));
    });

    it("needs no format where the header is there", () => {
      const formatted = facts("vda", luks(1), { annotated: 1, known: pending });
      expect(kindsNow(formatted)).toEqual(isGuests ? ["format", "activate-key"] : []);
    });
  });

  it("refuses two disks with one key, also when the other one is not protected now", () => {
    const known = record(1, "vda", "pending");
    const twins = ["vda", "vdb"].map((dev) => facts(dev, luks(1), { known }));
    expect(() => kinds(...twins)).toThrow(code("GUEST_CONFIG_INVALID"));
    const guest = guestWith(disk("vda", 1), disk("vdb", 1));
    const chosen = facts("vda", luks(1), { annotated: 1, known });
    expect(() => planProtect(guest, [chosen], options("now"))).toThrow(code("GUEST_CONFIG_INVALID"));
  });

  it("puts back the block that an encrypted disk has lost", () => {
    const plan = planProtect(
      GUEST,
      [facts("vda", luks(1), { known: record(1, "vda", "active") })],
      options("now"),
    );
    expect(plan.stages).toEqual([[{ kind: "annotate", blocks: [{ disk: "vda", uuid: uuid(1) }] }]]);
  });

  it.each([
    ["holds data", facts("vda", { kind: "data", signature: "ext4 file system" }), "VOLUME_NOT_EMPTY"],
    ["could not be proven empty", facts("vda", { kind: "allocated" }), "VOLUME_NOT_EMPTY"],
    ["has a LUKS header that nobody has the key of", facts("vda", luks(9)), "VOLUME_NOT_EMPTY"],
    [
      "has a damaged LUKS header",
      facts("vda", { kind: "bad-luks", reason: "cut off", claimedUuid: undefined }),
      "LUKS_HEADER_INVALID",
    ],
    ["does not exist", facts("vda", { kind: "absent" }), "VOLUME_NOT_FOUND"],
    ["cannot be read", facts("vda", { kind: "unreadable", reason: "I/O error" }), "VOLUME_UNREADABLE"],
    [
      "has the encryption block of an unknown key",
      facts("vda", { kind: "empty" }, { annotated: 9 }),
      "KEY_NOT_FOUND",
    ],
    [
      "has lost the header of its active key",
      facts("vda", { kind: "empty" }, { annotated: 1, known: record(1, "vda", "active") }),
      "VOLUME_NOT_FORMATTED",
    ],
    [
      "has data although its key is pending",
      facts(
        "vda",
        { kind: "data", signature: undefined },
        { annotated: 1, known: record(1, "vda", "pending") },
      ),
      "VOLUME_NOT_EMPTY",
    ],
  ])("refuses all disks when one %s", (_, bad, expected) => {
    expect(() => planProtect(GUEST, [facts("vdb", { kind: "empty" }), bad], options("now"))).toThrow(
      code(expected),
    );
  });
});

describe("a disk that the settings let nobody format", () => {
  const forbidden = new LuksmithError("VOLUME_FORMAT_FORBIDDEN", { what: "cannot format", hint: "ask" });
  const never = (probe: Probe, keyed?: Parameters<typeof facts>[2]) => ({
    ...facts("vda", probe, keyed),
    forbidden,
  });
  const pending = { annotated: 1, known: record(1, "vda", "pending") };

  it.each([
    ["is new", never({ kind: "empty" })],
    ["is pending", never({ kind: "empty" }, pending)],
    ["has a torn header", never({ kind: "bad-luks", reason: "torn", claimedUuid: uuid(1) }, pending)],
  ])("is refused before a key is stored when it %s, whenever it would be formatted", (_, disk) => {
    for (const plan of [kinds, kindsNow]) {
      expect(() => plan(disk)).toThrow(
        expect.objectContaining({
          code: "VOLUME_FORMAT_FORBIDDEN",
          message: "cannot protect disk vda of guest web1: cannot format",
          hint: "ask",
        }) as Error,
      );
    }
  });

  it("is given its block back, and its key activated, when it has its header", () => {
    expect(kinds(never(luks(1), { known: record(1, "vda", "active") }))).toEqual([["annotate"]]);
    expect(kindsNow(never(luks(1), pending))).toEqual(["format", "activate-key"]);
  });

  it("is refused for what is wrong with it, where there is more", () => {
    const lost = never({ kind: "empty" }, { annotated: 1, known: record(1, "vda", "active") });
    expect(() => kinds(lost)).toThrow(code("VOLUME_NOT_FORMATTED"));
    expect(() => kinds(never({ kind: "absent" }))).toThrow(code("VOLUME_NOT_FOUND"));
  });
});

describe("a volume that is not there", () => {
  const path = "/srv/it's.img";
  it.each<[Volume, string]>([
    [{ kind: "file", path, format: "raw" }, "luksmith allocate --backend raw '/srv/it'\\''s.img' 20G"],
    [{ kind: "file", path, format: "qcow2" }, "luksmith allocate --backend qcow2 '/srv/it'\\''s.img' 20G"],
    [
      { kind: "rbd", pool: "vms", image: "a b", format: "raw" },
      "luksmith allocate --backend rbd 'rbd:vms/a b' 20G",
    ],
    [{ kind: "block", path: "/dev/vg/web1", format: "raw" }, "create it there"],
  ])("%j comes with what makes one", (volume, hint) => {
    const absent = { ...facts("vda", { kind: "absent" }), disk: disk("vda", undefined, { volume }) };
    expect(() => kinds(absent)).toThrow(
      expect.objectContaining({ hint: expect.stringContaining(hint) as string }) as Error,
    );
  });
});

describe("before any I/O", () => {
  it("refuses a disk that must be encrypted and has no block, naming who asked and the command", () => {
    const check = () =>
      refuseUnannotated(guestWith(disk("vda"), disk("vdb", 1)), new Map([["vda", request("vda")]]));
    expect(check).toThrow(
      expect.objectContaining({
        code: "DISK_NOT_ENCRYPTED",
        why: expect.stringContaining("flavor m1.secret") as string,
        hint: "luksmith protect web1 --disk vda",
      }) as Error,
    );
  });

  it.each([
    ["another LUKS version", { encryption_format: "luksv2" }],
    ["librbd's own encryption", { encryption_options: { engine: "librbd" } }],
  ] as const)("refuses a disk that is asked for and whose block means %s", (_, block) => {
    const check = () =>
      refuseUnannotated(guestWith(disk("vda", 1, block)), new Map([["vda", request("vda")]]));
    expect(check).toThrow(code("REQUEST_CONFLICT"));
  });

  it("takes the block that libvirt prints, with QEMU named as its engine", () => {
    const guest = guestWith(disk("vda", 1, { encryption_options: { engine: "qemu" } }));
    expect(() => refuseUnannotated(guest, new Map([["vda", request("vda")]]))).not.toThrow();
  });

  it("takes librbd as the engine of an RBD image", () => {
    const volume: Volume = { kind: "rbd", pool: "vms", image: "web1", format: "raw" };
    const guest = guestWith(disk("vda", 1, { volume, encryption_options: { engine: "librbd" } }));
    expect(() => refuseUnannotated(guest, new Map([["vda", request("vda")]]))).not.toThrow();
  });

  it("sends a disk that became a snapshot's file to where the merge is explained, not to protect", () => {
    const overlay = disk("vda", undefined, { backingSecretUuids: [uuid(1)] });
    expect(() => refuseUnannotated(guestWith(overlay), new Map([["vda", request("vda")]]))).toThrow(
      expect.objectContaining({
        code: "DISK_NOT_ENCRYPTED",
        hint: expect.stringContaining("docs/libvirt.md, after an external snapshot") as string,
      }) as Error,
    );
  });

  it.each([["vda"], ["vdb"], ["vda", "vdb"]])(
    "refuses two disks with one key, asked for by %s",
    (...devs) => {
      const requests = new Map(devs.map((dev) => [dev, request(dev)]));
      expect(() => refuseUnannotated(guestWith(disk("vda", 1), disk("vdb", 1)), requests)).toThrow(
        code("GUEST_CONFIG_INVALID"),
      );
    },
  );
});
