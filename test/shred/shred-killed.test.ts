import { cpSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { hostPublicKey, verifyRecord } from "../../src/shred/signed-record.js";
import { runDriver } from "../fs/run-driver.js";
import { bundle } from "../fs/strace.js";
import { temporaryDirectory } from "../fs/tree.js";
import type { ShredOrder } from "./shred-process.js";
import { PASSPHRASES, ShredWorld } from "./shred-world.js";

it(
  "goes on after a kill at any step, and never loses the key before the header",
  { timeout: 300_000 },
  async () => {
    const root = temporaryDirectory("/dev/shm");
    const whole = new ShredWorld(join(root, "whole"), "raw");
    cpSync(temporaryDirectory("/dev/shm"), whole.directory, { recursive: true });
    await whole.fill();
    const copied = (name: string) => {
      cpSync(whole.directory, join(root, name), { recursive: true });
      return new ShredWorld(join(root, name), "raw", whole.key);
    };
    const driver = await bundle(new URL("shred-process.ts", import.meta.url).pathname, root);
    const shred = ({ directory, key }: ShredWorld, killedBefore: number) => {
      const order: ShredOrder = { directory, key, killedBefore };
      return runDriver(driver, order);
    };
    const steps = Number(await shred(copied("never"), 0));
    expect(steps).toBeGreaterThan(10);
    for (let killedBefore = 1; killedBefore <= steps; killedBefore++) {
      const world = copied(String(killedBefore));
      expect(await shred(world, killedBefore)).toBe("killed");
      const keys = (await world.keystore.list()).map(({ state }) => state);
      if ((await world.opening()).length > 0) expect(keys).toContain("active");
      const ended = new ShredWorld(world.directory, "raw", whole.key);
      await ended.shred();
      expect(await ended.left()).toEqual([]);
      const records = join(ended.state, "records");
      const publicKey = hostPublicKey(join(ended.directory, "signing-key"));
      const texts = readdirSync(records).map((name) => readFileSync(join(records, name), "utf8"));
      for (const text of texts) expect(verifyRecord(text, publicKey).key).toBe(whole.key);
      expect(texts.length).toBeGreaterThan(0);
    }
    expect(await whole.opening()).toEqual([...PASSPHRASES]);
  },
);
