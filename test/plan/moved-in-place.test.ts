import {
  closeSync,
  copyFileSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { randomBytes } from "node:crypto";
import { afterEach, describe, expect, test } from "vitest";
import { asLuksmithError, type LuksmithError } from "../../src/error/luksmith-error.js";
import { guestFromDomainXml } from "../../src/guest-config/domain-guest.js";
import { Keyring } from "../../src/keystore/keyring.js";
import { gatherFacts } from "../../src/plan/gather.js";
import { KeySession } from "../../src/plan/key-session.js";
import { planPreStart } from "../../src/plan/plan-pre-start.js";
import { createStorageRegistry } from "../../src/storage/index.js";
import { VolumeLocks } from "../../src/storage/volume-lock.js";
import { InPlaceWorld } from "../convert/in-place/in-place-world.js";
import { DEFAULT_STORAGE } from "../storage/default-storage.js";

const MIB = 1024 * 1024;

let world: InPlaceWorld;
afterEach(() => world[Symbol.dispose]());

/** A guest whose disk is cut short on its way, and the definition of it that has a plain disk, as another manager may. */
async function cutShort(to: "encrypted" | "plain"): Promise<string> {
  world = new InPlaceWorld(16 * MIB);
  const plain = world.host.xml;
  if (to === "plain") await world.convert("encrypted");
  const { percents } = world;
  world.percents = new Proxy(percents, {
    get: (target, name) =>
      name === "push"
        ? (percent: number) => {
            if (percent >= 40) throw new Error("power is gone");
          }
        : (Reflect.get(target, name) as unknown),
  });
  expect(await world.failure(to)).not.toBe("none");
  world.percents = percents;
  return plain;
}

/** What a start of this definition is refused with; undefined if it is not. */
async function refusal(xml: string): Promise<LuksmithError | undefined> {
  using session = new KeySession();
  const keyring = new Keyring([{ name: "local", make: () => Promise.resolve(world.keystore) }]);
  const locks = new VolumeLocks(world.runner, world.at("locks"));
  const storage = createStorageRegistry(world.runner, DEFAULT_STORAGE, locks);
  const guest = guestFromDomainXml(xml);
  try {
    const sources = { keyring, storage, inPlace: world.at("in-place") };
    planPreStart(guest, await gatherFacts(guest, new Map(), sources, session), new Date());
    return undefined;
  } catch (thrown) {
    return asLuksmithError(thrown);
  }
}

const start = async (xml: string) => (await refusal(xml))?.code ?? "starts";

describe.each(["encrypted", "plain"] as const)("a volume that is half converted to %s", (to) => {
  test("starts as no plain disk, of whatever guest and by whatever path, until it is whole", async () => {
    const plain = await cutShort(to);
    expect(await start(plain)).toBe("CONVERSION_UNFINISHED");
    const other = plain.replace("<name>web1", "<name>web2").replace(/<uuid>1/, "<uuid>2");
    symlinkSync(world.path, world.at("link"));
    expect(await start(other.replace(world.path, world.at("link")))).toBe("CONVERSION_UNFINISHED");
    renameSync(world.path, world.at("renamed"));
    expect(await start(other.replace(world.path, world.at("renamed")))).toBe("CONVERSION_UNFINISHED");
    // none of its blocks is where it was, and its inode is another one
    copyFileSync(world.at("renamed"), world.at("copy"));
    expect(await start(other.replace(world.path, world.at("copy")))).toBe("CONVERSION_UNFINISHED");
    renameSync(world.at("renamed"), world.path);

    expect(await world.failure(to)).toBe("none");
    expect(await start(plain)).toBe(to === "plain" ? "starts" : "ENCRYPTION_BLOCK_LOST");
  });

  test("is told from another one that has its name, or its size", async () => {
    const plain = await cutShort(to);
    const disk = world.at("other");
    writeFileSync(disk, randomBytes(18 * MIB));
    expect(await start(plain.replace(world.path, disk))).toBe("starts");
    renameSync(disk, world.path);
    expect(await start(plain)).toBe("starts");
    rmSync(world.path);
    expect(await start(plain)).toBe("starts");
  });
});

test("the hint goes on with the guest and the disk that are converted", async () => {
  const plain = await cutShort("encrypted");
  const refused = await refusal(plain.replace("<name>web1", "<name>web2").replace("'vda'", "'vdb'"));
  expect(refused?.message).toContain(
    "cannot start guest web2: the volume of disk vdb is being encrypted in place",
  );
  expect(refused?.hint).toContain("luksmith protect web1 --disk vda --convert --in-place");
});

test("a disk that is decrypted starts, though a kill has left the journal", async () => {
  const plain = await cutShort("plain");
  mkdirSync(world.at("kept"));
  const names = world.journals();
  expect(names).toHaveLength(2);
  for (const name of names) copyFileSync(world.at(`in-place/${name}`), world.at(`kept/${name}`));
  expect(await world.failure("plain")).toBe("none");
  for (const name of names) renameSync(world.at(`kept/${name}`), world.at(`in-place/${name}`));
  expect(await start(plain)).toBe("starts");
  // cut to its size last of all
  truncateSync(world.path, 18 * MIB);
  expect(await start(plain)).toBe("CONVERSION_UNFINISHED");
});

test("a start costs no process and next to no time, with and without a journal", async () => {
  world = new InPlaceWorld(16 * MIB);
  const plain = world.host.xml;
  const timed = async () => {
    const begin = performance.now();
    for (let round = 0; round < 20; round++) expect(await start(plain)).toBe("starts");
    return (performance.now() - begin) / 20;
  };
  await timed();
  const without = await timed();
  const { length } = world.runner.commands;
  mkdirSync(world.at("in-place"));
  const uuid = "99999999-2222-4333-8444-555555555555";
  const entry = {
    ...{ version: 1, uuid, to: "encrypted", payload: 1024 * MIB, mark: 1024 * MIB, size: 1024 * MIB },
    ...{ guest: { id: "x", name: "x" }, disk: "vda", volume: "/elsewhere", identity: "inode 1 of 1" },
  };
  writeFileSync(world.at(`in-place/${uuid}.json`), JSON.stringify(entry));
  await timed();
  expect((await timed()) - without).toBeLessThan(5);
  expect(world.runner.commands).toHaveLength(length);
  const fd = openSync(world.at("in-place/notes.json"), "w");
  writeSync(fd, "{");
  closeSync(fd);
  expect(await start(plain)).toBe("starts");
});
