import { execFile } from "node:child_process";
import { cpSync, readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { expect, it } from "vitest";
import { hostPublicKey, verifyRecord } from "../../src/shred/signed-record.js";
import { temporaryDirectory } from "../fs/tree.js";
import type { ShredOrder } from "./shred-process.js";
import { PASSPHRASES, ShredWorld } from "./shred-world.js";

const run = promisify(execFile);

function shredIn(order: ShredOrder): Promise<{ stdout: string }> {
  const script = resolve(import.meta.dirname, "shred-process.ts");
  return run(process.execPath, ["--import", "tsx", script, JSON.stringify(order)]);
}

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
    const steps = Number((await shredIn({ ...orderFor(copied("never")), killedBefore: 0 })).stdout);
    expect(steps).toBeGreaterThan(10);
    for (let killedBefore = 1; killedBefore <= steps; killedBefore++) {
      const world = copied(String(killedBefore));
      await expect(shredIn({ ...orderFor(world), killedBefore })).rejects.toMatchObject({
        signal: "SIGKILL",
      });
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

function orderFor({ directory, key }: ShredWorld): Pick<ShredOrder, "directory" | "key"> {
  return { directory, key };
}
