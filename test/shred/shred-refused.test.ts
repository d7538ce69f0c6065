import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { KeyLocks } from "../../src/keystore/key-locks.js";
import { newKeyUuid } from "../../src/keystore/key-uuid.js";
import { Keyslots } from "../../src/encryption/keyslots.js";
import { ShredRequests } from "../../src/shred/approval.js";
import type { Findings } from "../../src/shred/shred-notes.js";
import { recordFor } from "../../src/shred/shred-records.js";
import { Secret } from "../../src/secret/secret.js";
import { temporaryDirectory } from "../fs/tree.js";
import { disk, guestWith } from "../plan/builders.js";
import { whileOpen } from "../storage/running-guest.js";
import { codeOf, makeImage, SPEC } from "../storage/workshop.js";
import { NOBODY, NOW, PASSPHRASES, ShredWorld } from "./shred-world.js";

const HOUR = 3_600_000;
let world: ShredWorld;

describe.each(["raw", "qcow2"] as const)("shredding a volume of format %s", (format) => {
  it("is refused while a QEMU that nobody here knows of has it open", async () => {
    world = new ShredWorld(temporaryDirectory(), format);
    await world.fill();
    world.host.guests = [];
    const left = await world.left();
    const wish = { kind: "volume", volume: world.volume.path } as const;
    const node = world.backend.qemuNode(world.volume, "key");
    using current = Secret.own(Buffer.from(PASSPHRASES[0]));
    for (const sharing of ["share-rw=off", "share-rw=on"] as const) {
      const shred = () => codeOf(world.shredder().shred(wish, NOBODY));
      expect(await whileOpen(node, shred, current, sharing)).toBe("SHRED_REFUSED");
    }
    expect(await world.left()).toEqual(left);
    expect(world.audit.uses.at(-1)).toMatchObject({ result: "refused", code: "SHRED_REFUSED" });
    await world.shredder().shred(wish, NOBODY);
    expect(await world.left()).toEqual([]);
  });
});

describe("shredding is refused", () => {
  beforeEach(async () => {
    world = new ShredWorld(temporaryDirectory(), "raw");
    await world.fill();
  });

  it("while its conversion in place has not ended; what that has left goes with the other copies", async () => {
    mkdirSync(world.inPlace, { mode: 0o700 });
    const [journal, header] = [".json", ".header"].map((end) => join(world.inPlace, `${world.key}${end}`));
    writeFileSync(journal!, "{}", { mode: 0o600 });
    writeFileSync(header!, await world.backend.readHeader(world.volume), { mode: 0o600 });
    const another = join(world.inPlace, `${newKeyUuid()}.header`);
    writeFileSync(another, "another's", { mode: 0o600 });
    expect(await codeOf(world.shred())).toBe("SHRED_REFUSED");
    expect(await world.opening()).toEqual([...PASSPHRASES]);
    rmSync(journal!);
    await world.shred();
    expect([existsSync(header!), existsSync(another)]).toEqual([false, true]);
  });

  it("while somebody changes the key", async () => {
    const left = await world.left();
    await new KeyLocks(world.runner, world.locks).hold(world.key, async () => {
      expect(await codeOf(world.shred())).toBe("LOCK_TIMEOUT");
    });
    expect(await world.left()).toEqual(left);
    const withdraw = world.host.withdrawSecrets.bind(world.host);
    let isHeld = false;
    world.host.withdrawSecrets = async (...args) => {
      const locks = new KeyLocks(world.runner, world.locks, 0);
      isHeld = (await codeOf(locks.hold(world.key, () => Promise.resolve()))) === "LOCK_TIMEOUT";
      await withdraw(...args);
    };
    await world.shred();
    expect(isHeld).toBe(true);
  });
});

describe("a volume key that another header has", () => {
  let clone: ShredWorld["volume"];
  const cloneKey = newKeyUuid();
  let passphrase: Secret;

  /** A copy of the disk with a UUID and a passphrase of its own, and the volume key of before. */
  async function cloned(): Promise<Buffer> {
    const { volume, backend } = world;
    clone = { ...volume, path: join(world.directory, "clone.img") };
    execFileSync("cp", [volume.path, clone.path]);
    using current = Secret.own(Buffer.from(PASSPHRASES[0]));
    const keyslots = new Keyslots(world.runner);
    const { length } = await backend.readHeader(clone);
    const add = { passphrase: current, added: passphrase, strength: "machine" } as const;
    await backend.changeHeader(clone, length, async (header) => (await keyslots.add(header, add)).pieces);
    await backend.changeHeader(clone, length, (header) =>
      Promise.resolve(keyslots.renamed(header, cloneKey)),
    );
    return await backend.readHeader(clone);
  }

  function ofClone() {
    const mapping = { ...disk("vda"), volume: clone, encryption_secret_uuid: cloneKey, encrypted: true };
    const id = "22222222-2222-4333-8444-555555555555";
    return { ...guestWith(mapping), id, name: "web2", running: false, saved: false };
  }

  beforeEach(async () => {
    world = new ShredWorld(temporaryDirectory(), "raw");
    await world.fill();
    passphrase = Secret.own(Buffer.from("the clone's own passphrase"));
  });
  afterEach(() => {
    passphrase.dispose();
  });

  it("of another guest's disk refuses, until somebody says that he knows", async () => {
    await cloned();
    world.host.guests = [world.guest(), ofClone()];
    const refusal = await world.shred().catch((thrown: unknown) => thrown);
    expect(refusal).toMatchObject({
      code: "SHRED_REFUSED",
      why: expect.stringContaining("disk vda of guest web2") as string,
      hint: expect.stringContaining("luksmith rotate --deep web2 --disk vda") as string,
    });
    expect(await world.opening()).toEqual([...PASSPHRASES]);
    await world.shred({ ...NOBODY, sharedVolumeKey: "kept" });
    expect(await world.left()).toEqual([]);
    // the clone itself has the key for itself by now
    await world.backend.testPassphrase(clone, passphrase);
    await world.shredder().shred({ kind: "guest", guest: "web2", disks: [] }, NOBODY);
  });

  it("of a header copy of another key refuses as well", async () => {
    const header = await cloned();
    await world.vault.keep({ uuid: cloneKey, volume: clone.path, header, reason: "changed" });
    expect(await codeOf(world.shred())).toBe("SHRED_REFUSED");
    await world.vault.destroy(cloneKey);
    await world.shred();
    expect(await world.left()).toEqual([]);
  });

  it("is not what another volume, of which nobody copied, has", async () => {
    const another = { ...world.volume, path: join(world.directory, "another.img") };
    makeImage(another, 8 * 1024 * 1024);
    await world.backend.createEncrypted({ volume: another, uuid: cloneKey, spec: SPEC, passphrase });
    clone = another;
    world.host.guests = [world.guest(), ofClone()];
    const header = await world.backend.readHeader(another);
    await world.vault.keep({ uuid: cloneKey, volume: another.path, header, reason: "made" });
    await world.shred();
    expect(await world.left()).toEqual([]);
  });
});

describe("a request", () => {
  const [vda, vdb] = ["vda", "vdb"].map((dev) => findings(dev)) as [Findings, Findings];
  const nothing = () => false;
  let requests: ShredRequests;

  beforeEach(() => {
    requests = new ShredRequests(temporaryDirectory());
    requests.make([vda, vdb], 1000, NOW);
  });

  const approved = (
    found: readonly Findings[],
    destroyed: (key: string, since: string) => boolean,
    now = NOW,
  ) =>
    codeOf(
      Promise.resolve()
        .then(() => requests.approve(found, 1001, now, destroyed))
        .then(() => fine()),
    );
  const fine = () => {
    throw new Error("approved");
  };

  it("is for all of its disks, but for those that were destroyed since", async () => {
    await expect(approved([vda, vdb], nothing)).rejects.toThrow("approved");
    await expect(approved([vdb, vda], nothing)).rejects.toThrow("approved");
    expect(await approved([vdb], nothing)).toBe("SHRED_NOT_APPROVED");
    await expect(approved([vdb], (key) => key === vda.key)).rejects.toThrow("approved");
    expect(await approved([vda, vdb, findings("vdc")], nothing)).toBe("SHRED_NOT_APPROVED");
    const changed = { ...vdb, header: { ...vdb.header, digest: "another" } };
    expect(await approved([changed], (key) => key === vda.key)).toBe("SHRED_NOT_APPROVED");
  });

  it("holds no longer than a day, also for what is left", async () => {
    const late = new Date(NOW.getTime() + 25 * HOUR);
    expect(await approved([vdb], (key) => key === vda.key, late)).toBe("SHRED_NOT_APPROVED");
  });

  it("is gone when all of it is destroyed, and not before", async () => {
    requests.remove(NOW, (key) => key === vda.key);
    await expect(approved([vda, vdb], nothing)).rejects.toThrow("approved");
    requests.remove(NOW, () => true);
    expect(await approved([vda, vdb], nothing)).toBe("SHRED_NOT_APPROVED");
  });

  function findings(dev: string): Findings {
    const key = newKeyUuid();
    const volume = { kind: "file", path: `/images/${dev}.img`, format: "raw" } as const;
    const header = { length: 4096, digest: dev };
    return { key, volume, disk: dev, header, keystores: [], archived: [], headerCopies: 0, escrowFiles: 0 };
  }
});

describe("the record of a key", () => {
  it("is found when this host has signed it", async () => {
    world = new ShredWorld(temporaryDirectory(), "raw");
    await world.fill();
    const places = { directory: world.state, signingKey: join(world.directory, "signing-key") };
    expect(recordFor(world.key, places)).toBeUndefined();
    const [path = ""] = await world.shred();
    expect(recordFor(world.key, places)).toMatchObject({ path, record: { key: world.key, disk: "vda" } });
    expect(recordFor(newKeyUuid(), places)).toBeUndefined();
    const text = readFileSync(path, "utf8");
    writeFileSync(path, text.replace('"vda"', '"vdb"'));
    expect(recordFor(world.key, places)).toBeUndefined();
    writeFileSync(path, text);
    expect(recordFor(world.key, { ...places, signingKey: join(world.directory, "none") })).toBeUndefined();
  });
});
