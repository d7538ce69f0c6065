import { mkdirSync, rmSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { KeyUuid } from "../../../src/keystore/key-uuid.js";
import { KeyLocks } from "../../../src/keystore/key-locks.js";
import { KeyUses } from "../../../src/rotate/key-uses.js";
import { rotateGuest, type RotationResources } from "../../../src/rotate/rotate-guest.js";
import { Secret } from "../../../src/secret/secret.js";
import * as t from "../../../src/tokens.js";
import { goneStart, NODE, ProxmoxWorld, startOf, STORAGE } from "./proxmox-world.js";

const VMID = 101;
const NAME = `vm-${VMID}-disk-0`;
const CONFIG = { name: "web", scsi0: `${STORAGE}:${NAME},size=4M` };

describe("a VM of Proxmox VE", { timeout: 60_000 }, () => {
  let world: ProxmoxWorld;
  let uuid: KeyUuid;
  beforeEach(async () => {
    world = new ProxmoxWorld();
    uuid = await world.volume(NAME, "first");
    world.vm(VMID, CONFIG);
  });
  afterEach(() => {
    rmSync(world.root, { recursive: true });
  });

  const underWay = () => world.host.underWay({ id: String(VMID), name: "web" });

  describe("is under way", () => {
    it("while a process that starts it is there, and not once that has gone", async () => {
      expect(await underWay()).toBeUndefined();
      mkdirSync(world.startPath(VMID, goneStart()), { recursive: true, mode: 0o700 });
      expect(await underWay()).toBeUndefined();
      mkdirSync(world.startPath(VMID, startOf()), { recursive: true, mode: 0o700 });
      expect(await underWay()).toBe("starting");
    });

    it.each(["migrate", "backup", "suspending", "snapshot"])("while its lock is %s", async (lock) => {
      world.vm(VMID, { ...CONFIG, lock });
      expect(await underWay()).toBe("leaving");
    });

    it("not by what a snapshot's section says", async () => {
      world.vm(VMID, CONFIG, { node: NODE, more: "\n[before]\nlock: backup\nmemory: 512\n" });
      expect(await underWay()).toBeUndefined();
    });
  });

  const resources = (): RotationResources => ({
    host: world.host,
    runner: world.runner,
    keyring: world.container.resolve(t.KEYRING),
    storage: world.container.resolve(t.STORAGE),
    keyslots: world.container.resolve(t.KEYSLOTS),
    vault: world.headers,
    audit: world.audit,
    clock: world.container.resolve(t.CLOCK),
    logger: world.logger,
    preparation: world.container.resolve(t.PREPARATION),
    locks: new KeyLocks(world.runner, `${world.root}/lock`),
    uses: () => KeyUses.of(world.host),
  });

  async function opens(passphrase: Secret): Promise<boolean> {
    const { volume } = (await world.host.readGuest(String(VMID))).disks.mapping["scsi0"]!;
    const backend = await world.container.resolve(t.STORAGE).backendFor(volume);
    const header = await backend.readHeader(volume);
    return (await world.container.resolve(t.KEYSLOTS).find(header, passphrase)) !== undefined;
  }

  it("gets a new passphrase for its disk, whose key its header tells, and loses the former one", async () => {
    const [result] = await rotateGuest(String(VMID), { manner: "apply" }, resources());

    expect(result).toMatchObject({ disk: "scsi0", uuid, result: { kind: "rotated" } });
    using former = Secret.own(Buffer.from("first".padEnd(88, ".")));
    expect(await opens(former)).toBe(false);
    const key = await (await world.container.resolve(t.KEYRING).get("local")).fetch(uuid);
    using now = key!.passphrase;
    expect(await opens(now)).toBe(true);
    expect(key!.record).toMatchObject({ state: "active", generation: 2 });
    expect(key!.record.rotation).toBeUndefined();
  });

  it("keeps its passphrase while it is being started", async () => {
    mkdirSync(world.startPath(VMID, startOf()), { recursive: true, mode: 0o700 });
    await expect(rotateGuest(String(VMID), { manner: "apply" }, resources())).rejects.toMatchObject({
      code: "ROTATION_REFUSED",
    });
    using first = Secret.own(Buffer.from("first".padEnd(88, ".")));
    expect(await opens(first)).toBe(true);
  });
});
