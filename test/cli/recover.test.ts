import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { KeyLocks } from "../../src/keystore/key-locks.js";
import { RecoveryLab } from "../recovery/recovery-lab.js";
import { commandLine } from "./luksmith.js";

/** Beside this host's records, which a test has no business in. */
const APART = 'mount -t tmpfs tmpfs /var/log && mount -t tmpfs tmpfs /var/lib && exec "$@"';

it("a recovery that only reads waits for no other luksmith process", { timeout: 120_000 }, async () => {
  using lab = new RecoveryLab("raw");
  const { uuid, volume } = await lab.disk();
  const { passphrase } = await lab.key(uuid);
  using own = passphrase;
  const input = own.use((bytes) => Buffer.from(bytes));
  const file = join(lab.workshop.root, "passphrase");
  const args = commandLine(["recover", volume.path, "--format", "raw", "--write-key", file]);
  // the one that it would wait for has the lock all the time
  const said = await new KeyLocks(lab.workshop.runner).hold(uuid, () =>
    Promise.resolve(
      spawnSync("unshare", ["-m", "sh", "-c", APART, "sh", ...args], { input, encoding: "utf8" }),
    ),
  );
  expect(said).toMatchObject({ status: 0, stdout: expect.stringContaining("opens keyslot 0") as string });
  expect(readFileSync(file).equals(input)).toBe(true);
});
