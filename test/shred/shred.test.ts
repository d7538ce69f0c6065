import { readFileSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { beforeEach, describe, expect, it, vi } from "vitest";
import { ConversionNotes } from "../../src/convert/conversion-notes.js";
import { asLuksmithError, LuksmithError } from "../../src/error/luksmith-error.js";
import { keyUuidOf } from "../../src/keystore/key-record.js";
import { newKeyUuid } from "../../src/keystore/key-uuid.js";
import { GuestLocks } from "../../src/plan/guest-locks.js";
import { hostPublicKey, verifyRecord } from "../../src/shred/signed-record.js";
import type { Asking } from "../../src/shred/shred-all.js";
import * as reached from "../../src/storage/block/reached-by-others.js";
import { temporaryDirectory } from "../fs/tree.js";
import { disk, guestWith } from "../plan/builders.js";
import { codeOf } from "../storage/workshop.js";
import { NOBODY, NOW, PASSPHRASES, ShredWorld } from "./shred-world.js";

vi.mock("../../src/storage/block/reached-by-others.js", { spy: true });

const HOUR = 3_600_000;
let world: ShredWorld;

async function worldOf(format: "raw" | "qcow2"): Promise<ShredWorld> {
  const made = new ShredWorld(temporaryDirectory(), format);
  await made.fill();
  return made;
}

describe.each(["raw", "qcow2"] as const)("shredding a disk of format %s", (format) => {
  beforeEach(async () => {
    world = await worldOf(format);
  });

  it("leaves nothing that opens it, and nothing of the header", async () => {
    expect(await world.opening()).toEqual([...PASSPHRASES]);
    const header = await world.backend.readHeader(world.volume);
    const before = world.bytes();
    const material = sectorsOf(header).filter((sector) => /[^0]/.test(sector));
    expect(material.length).toBeGreaterThan(100);
    const there = new Set(sectorsOf(before));
    expect(material.every((sector) => there.has(sector))).toBe(true);
    const [record = ""] = await world.shred();
    expect(await world.left()).toEqual([]);
    const after = world.bytes();
    const left = new Set(sectorsOf(after));
    expect(material.some((sector) => left.has(sector))).toBe(false);
    // a raw image is a header and the guest's data, which nobody touches
    if (format === "raw")
      expect(after.subarray(header.length).equals(before.subarray(header.length))).toBe(true);
    const publicKey = hostPublicKey(join(world.directory, "signing-key"));
    expect(verifyRecord(readFileSync(record, "utf8"), publicKey)).toMatchObject({
      ...{ key: world.key, disk: "vda", volume: world.volume.path, headerCopies: 2, escrowFiles: 2 },
      ...{ keystores: ["local"], archived: [expect.any(String)] },
      header: { length: header.length },
    });
  });

  it("touches nothing in a dry run", async () => {
    const [before, left] = [world.bytes(), await world.left()];
    await world.shredder().candidates({ kind: "guest", guest: "web1", disks: [] }, NOBODY);
    expect(world.bytes().equals(before)).toBe(true);
    expect(await world.left()).toEqual(left);
  });
});

describe("shredding", () => {
  beforeEach(async () => {
    world = await worldOf("raw");
  });

  it("clears this host's copies of the key and of its former passphrases, and records both ends", async () => {
    await world.shred();
    expect(world.cleared).toHaveLength(2);
    expect(world.cleared[0]).toBe(world.key);
    const ours = world.audit.uses.filter(({ key }) => key === world.key);
    expect(ours.map(({ event, result, disk: dev }) => [event, result, dev])).toEqual([
      ["shred", "done", "vda"],
      ["shred", "done", "vda"],
    ]);
    expect(world.audit.uses).toHaveLength(3);
  });

  it("takes a volume by its name when no guest has it", async () => {
    world.host.guests = [];
    const wish = { kind: "volume", volume: world.volume.path } as const;
    await world.shredder().shred(wish, NOBODY);
    expect(await world.left()).toEqual([]);
  });

  it("keeps the key where the header cannot be written", async () => {
    world.backend.changeHeader = () =>
      Promise.reject(new LuksmithError("VOLUME_WRITE_FAILED", { what: "the storage is read-only" }));
    const left = await world.left();
    expect(await codeOf(world.shred())).toBe("VOLUME_WRITE_FAILED");
    expect(await world.left()).toEqual(left);
  });

  it("keeps the key where the header is there again before the key goes", async () => {
    const header = await world.backend.readHeader(world.volume);
    const destroy = world.vault.destroy.bind(world.vault);
    world.vault.destroy = async (uuid) => {
      await destroy(uuid);
      const restored = () => Promise.resolve([{ offset: 0, bytes: header }]);
      await world.backend.changeHeader(world.volume, header.length, restored);
    };
    expect(await codeOf(world.shred())).toBe("VOLUME_WRITE_FAILED");
    expect(await world.left()).toContain("key active");
    world.vault.destroy = destroy;
    await world.shred();
    expect(await world.left()).toEqual([]);
  });

  it("destroys nothing where the audit is required and cannot be written", async () => {
    const left = await world.left();
    world.audit.failure = new LuksmithError("AUDIT_UNWRITABLE", { what: "no room" });
    expect(await codeOf(world.shred())).toBe("AUDIT_UNWRITABLE");
    expect(await world.left()).toEqual(left);
  });

  it("destroys nothing while a keystore does not answer", async () => {
    const left = await world.left();
    const fetch = world.keystore.fetch.bind(world.keystore);
    world.keystore.fetch = () => Promise.reject(new LuksmithError("KEYSTORE_UNAVAILABLE", { what: "down" }));
    expect(await codeOf(world.shred())).toBe("KEYSTORE_UNAVAILABLE");
    world.keystore.fetch = fetch;
    expect(await world.left()).toEqual(left);
  });
});

describe("shredding is refused", () => {
  beforeEach(async () => {
    world = await worldOf("raw");
  });

  async function expectRefused(code = "SHRED_REFUSED"): Promise<void> {
    const [left, bytes] = [await world.left(), world.bytes()];
    expect(await codeOf(world.shred())).toBe(code);
    expect(await world.left()).toEqual(left);
    expect(world.bytes().equals(bytes)).toBe(true);
  }

  it("while the guest runs, or its memory is saved", async () => {
    world.host.guests = [world.guest({ running: true })];
    await expectRefused();
    world.host.guests = [world.guest({ saved: true })];
    await expectRefused();
    expect(world.audit.uses.at(-1)).toMatchObject({
      event: "shred",
      result: "refused",
      code: "SHRED_REFUSED",
    });
  });

  it("while another guest, running or not, has the volume or the key", async () => {
    const of = (mapping: ReturnType<typeof disk>, running: boolean) => ({
      ...guestWith(mapping),
      ...{ id: "22222222-2222-4333-8444-555555555555", name: "web2", running, saved: false },
    });
    for (const running of [false, true]) {
      world.host.guests = [world.guest(), of({ ...disk("vdb"), volume: world.volume }, running)];
      await expectRefused();
      world.host.guests = [world.guest(), of({ ...disk("vdb"), encryption_secret_uuid: world.key }, running)];
      await expectRefused();
      world.host.guests = [world.guest(), of({ ...disk("vdb"), backingSecretUuids: [world.key] }, running)];
      await expectRefused();
    }
  });

  it("of an overlay, whose snapshots lie under it", async () => {
    const [mapping] = Object.values(world.guest().disks.mapping);
    if (mapping === undefined) throw new Error("no disk");
    world.host.guests = [
      { ...world.guest(), ...guestWith({ ...mapping, backingSecretUuids: [newKeyUuid()] }) },
    ];
    await expectRefused();
  });

  it("while the passphrase or the volume changes", async () => {
    const [active] = await world.keystore.find({ state: "active" });
    if (active === undefined) throw new Error("no key");
    const startedAt = new Date(NOW.getTime() - 60_000).toISOString();
    const rotation = { startedAt, keyslot: 4, id: "0123456789abcdef", host: "another-host" };
    await world.keystore.change(keyUuidOf(active), (record) => ({ ...record, rotation }));
    await expectRefused();
    const converting = { ...active, conversion: { to: "plain", startedAt } } as const;
    await world.keystore.change(keyUuidOf(active), () => converting);
    await expectRefused();
  });

  it("of a volume with another key's header", async () => {
    world.host.guests = [world.guest()];
    const another = new ShredWorld(world.directory, "raw", newKeyUuid());
    expect(await codeOf(another.shred())).toBe("LUKS_UUID_MISMATCH");
    expect(await world.opening()).toEqual([...PASSPHRASES]);
  });

  it("while what the disk was copied from is still there, or a copy has not ended", async () => {
    const notes = new ConversionNotes(join(world.directory, "conversions"));
    const another = { kind: "file", path: "/images/before.img", format: "raw" } as const;
    const ours = { kind: "file", path: world.volume.path, format: "raw" } as const;
    const note = {
      version: 1 as const,
      ...{ guest: { id: world.guest().id, name: "web1" }, disk: "vda" },
      startedAt: "2026-01-01T00:00:00Z",
    } as const;
    const copied = { ...note, old: another, new: ours, state: "verified" } as const;
    notes.write(copied);
    await expectRefused();
    notes.forget(copied);
    notes.write({ ...note, old: ours, new: another, state: "copying" });
    await expectRefused();
    // the old volume of a copy that is finished
    notes.write({ ...note, old: ours, new: another, state: "verified" });
    await world.shred();
    expect(await world.left()).toEqual([]);
  });

  it.each([
    ["verified", "other"],
    ["copying", "other"],
    ["copying", "ours"],
  ] as const)("until somebody says what became of a gone guest's copy: %s, from %s", async (state, from) => {
    const notes = new ConversionNotes(join(world.directory, "conversions"));
    // a share that is not mounted looks as if it were gone
    const other = { kind: "file", path: join(world.directory, "away.img"), format: "raw" } as const;
    const ours = { kind: "file", path: world.volume.path, format: "raw" } as const;
    notes.write({
      ...{ version: 1, guest: { id: "gone", name: "db1" }, disk: "vdb", state },
      ...(from === "ours" ? { old: ours, new: other } : { old: other, new: ours }),
      startedAt: "2026-01-01T00:00:00Z",
    });
    const { code, why, hint = "" } = asLuksmithError(await world.shred().catch((thrown: unknown) => thrown));
    expect(code).toBe("SHRED_REFUSED");
    expect(why).toContain(`volume ${other.path} may still have, in clear, what disk vdb of guest db1 had`);
    expect(await world.opening()).toEqual([...PASSPHRASES]);

    const path = /: rm (\S+)$/.exec(hint)?.[1];
    rmSync(path ?? "");
    await world.shred();
    expect(await world.left()).toEqual([]);
  });

  it("where a start of the guest began after it was seen shut off", async () => {
    const locks = new GuestLocks(world.runner, world.locks);
    const readGuest = world.host.readGuest.bind(world.host);
    let looks = 0;
    world.host.readGuest = async (id) => {
      const guest = await readGuest(id);
      if (++looks === 2) await locks.announceStart(guest);
      return guest;
    };
    await expectRefused();
    expect(looks).toBeGreaterThan(1);
    await world.shred();
    expect(await world.left()).toEqual([]);
  });

  it("of disks that were shredded before; of some of them, the others are", async () => {
    await world.shred();
    await expectRefused();
    expect(
      world.audit.uses.filter(({ event, result }) => [event, result].join() === "shred,done"),
    ).toHaveLength(3);
  });

  it("of a volume by its name that a guest has", async () => {
    const wish = { kind: "volume", volume: world.volume.path } as const;
    expect(await codeOf(world.shredder().shred(wish, NOBODY))).toBe("SHRED_REFUSED");
  });

  function guestOnDevice() {
    const [mapping] = Object.values(world.guest().disks.mapping);
    if (mapping === undefined) throw new Error("no disk");
    const volume = { kind: "block", path: world.volume.path, format: "raw" } as const;
    return { ...world.guest(), ...guestWith({ ...mapping, volume }), running: false, saved: false };
  }

  it("of a block device whose snapshots nobody has looked for", async () => {
    world.host.guests = [guestOnDevice()];
    await expectRefused();
  });

  it("of a block device that a guest of another host may have open, until somebody has looked", async () => {
    world.host.guests = [guestOnDevice()];
    const candidates = (asking: Partial<Asking>) =>
      world
        .shredder()
        .candidates({ kind: "guest", guest: "web1", disks: [] }, { ...NOBODY, snapshots: "gone", ...asking })
        .then(
          () => "none",
          (thrown: unknown) => asLuksmithError(thrown).why,
        );
    vi.mocked(reached.reachedByOthers).mockReturnValue("iSCSI");
    expect(await candidates({})).toContain("iSCSI");
    expect(await candidates({ otherHosts: "none" })).not.toContain("iSCSI");
    vi.mocked(reached.reachedByOthers).mockReturnValue(undefined);
    expect(await candidates({})).not.toContain("other hosts");
  });

  it("of a qcow2 image with internal snapshots, until they are gone", async () => {
    world = await worldOf("qcow2");
    const { path } = world.volume;
    const secret = ["--object", "secret,id=s,data=current passphrase"];
    const image = ["--image-opts", `driver=qcow2,encrypt.key-secret=s,file.filename=${path}`];
    await world.runner.run({ tool: "qemu-img", args: ["snapshot", "-c", "one", ...secret, ...image] });
    await expectRefused();
    await world.runner.run({ tool: "qemu-img", args: ["snapshot", "-d", "one", ...secret, ...image] });
    await world.shred();
    expect(await world.left()).toEqual([]);
  });
});

describe("two persons", () => {
  const wish = { kind: "guest", guest: "web1", disks: [] } as const;
  const as = (uid: number | undefined) => ({ ...NOBODY, uid });

  beforeEach(async () => {
    world = await worldOf("raw");
    world.persons = 2;
  });

  it("are needed: one who asks, and another one who does it", async () => {
    expect(await codeOf(world.shred(as(1000)))).toBe("SHRED_NOT_APPROVED");
    await world.shredder().request(wish, as(1000));
    expect(await codeOf(world.shred(as(1000)))).toBe("SHRED_NOT_APPROVED");
    expect(await codeOf(world.shred(as(undefined)))).toBe("SHRED_NOT_APPROVED");
    expect(await world.opening()).toEqual([...PASSPHRASES]);
    const [record = ""] = await world.shred(as(1001));
    expect(await world.left()).toEqual([]);
    const { persons } = (JSON.parse(readFileSync(record, "utf8")) as { record: { persons: object[] } })
      .record;
    expect(persons).toMatchObject([
      { uid: 1000, role: "requested" },
      { uid: 1001, role: "shredded" },
    ]);
  });

  it("must mean the same within a day", async () => {
    await world.shredder().request(wish, as(1000));
    world.now = new Date(world.now.getTime() + 25 * HOUR);
    expect(await codeOf(world.shred(as(1001)))).toBe("SHRED_NOT_APPROVED");
    await world.shredder().request(wish, as(1000));
    const { Secret } = await import("../../src/secret/secret.js");
    using current = Secret.own(Buffer.from(PASSPHRASES[0]));
    using added = Secret.own(Buffer.from("one more passphrase"));
    await world.addKeyslot(current, added);
    expect(await codeOf(world.shred(as(1001)))).toBe("SHRED_NOT_APPROVED");
    expect(await world.opening()).toEqual([...PASSPHRASES]);
  });

  it("cannot be nobody", async () => {
    expect(await codeOf(world.shredder().request(wish, as(undefined)))).toBe("SHRED_NOT_APPROVED");
  });
});

describe("a signed record", () => {
  it("is refused when it was changed, or another host has signed it", async () => {
    world = await worldOf("raw");
    const [path = ""] = await world.shred();
    const text = readFileSync(path, "utf8");
    const keyPath = join(world.directory, "signing-key");
    expect(statSync(keyPath).mode & 0o777).toBe(0o600);
    const own = hostPublicKey(keyPath);
    const refused = (changed: string, key: string) => {
      expect(() => verifyRecord(changed, key)).toThrow(
        expect.objectContaining({ code: "AUDIT_BROKEN" }) as Error,
      );
    };
    refused(text.replace('"vda"', '"vdb"'), own);
    refused(text.replace(/"uid": [0-9]+/, '"uid": 4711'), own);
    refused(text, hostPublicKey(join(world.directory, "another-key")));
    refused("{}", own);
  });
});

function sectorsOf(bytes: Buffer): string[] {
  return Array.from({ length: Math.floor(bytes.length / 512) }, (_, i) =>
    bytes.toString("hex", 512 * i, 512 * i + 512),
  );
}
