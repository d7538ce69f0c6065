import { createHash, randomUUID } from "node:crypto";
import { copyFile, readFile } from "node:fs/promises";
import { expect, it } from "vitest";
import { hostForThisFile } from "./support/each-test.js";
import { keepWorld, sweep } from "./support/kill-sweep.js";
import { expectNothingLeft } from "./support/nothing-left.js";
import { luksUuidOf, opensWith } from "./support/volumes.js";

const host = hostForThisFile();

const digestOf = async (path: string) =>
  createHash("sha256")
    .update(await readFile(path))
    .digest("hex");

it(
  "a separation can be killed at any call: the copy starts, or is left alone until the command that is named ends it",
  { timeout: 600_000 },
  async () => {
    const original = await host().guest("web1", ["raw"]);
    await host().must("protect", "web1", "--now");
    const { vda: former } = await host().blocks(original);
    const [{ path: source }] = original.disks as [(typeof original.disks)[0]];
    const path = host().newPath("raw");
    await copyFile(source, path);
    const copy = { dev: "vda", path, format: "raw", secretUuid: former! } as const;
    const clone = await host().define({ name: "web1-clone", uuid: randomUUID(), disks: [copy] });
    const definition = await host().definition(clone);
    const before = await digestOf(source);
    const restore = await keepWorld(host());
    let refusals = 0;

    await sweep({
      host: host(),
      guest: clone,
      process: { argv: host().command("separate", "web1-clone") },
      kills: 12,
      reset: async () => {
        await restore();
        await host().libvirt.define(definition);
      },
      afterKill: async (when) => {
        const { vda: named } = await host().blocks(clone);
        if ((await luksUuidOf(path, "raw")) === named) return;
        refusals++;
        const half = await digestOf(path);
        const { code, hint } = await host().refusedStart(clone);
        expect(code, when).toBe("LUKS_UUID_MISMATCH");
        expect(hint, when).toContain("luksmith separate web1-clone vda");
        for (const command of [
          "unprotect web1-clone --yes",
          "unprotect web1-clone --in-place --yes",
          "rotate web1-clone",
          "rotate --deep web1-clone",
        ]) {
          const { exitCode, stderr } = await host().luksmith(...command.split(" "));
          expect(exitCode, `${command} ${when}`).not.toBe(0);
          expect(stderr, `${command} ${when}`).toContain("luksmith separate web1-clone vda");
        }
        expect(await digestOf(path), when).toBe(half);
      },
      goOn: async (when) => {
        expect(await host().paste("luksmith separate web1-clone vda"), when).toMatchObject({ exitCode: 0 });
        const { vda: own } = await host().blocks(clone);
        expect(own, when).not.toBe(former);
        expect(await luksUuidOf(path, "raw"), when).toBe(own);
        for (const [uuid, opens] of [
          [own, true],
          [former, false],
        ] as const) {
          const { record, passphrase } = await host().key(uuid);
          using secret = passphrase;
          expect(record.state, when).toBe("active");
          expect(await opensWith(path, "raw", secret), when).toBe(opens);
        }
        expect(await host().keystore().list(), when).toHaveLength(2);
        expect(await digestOf(source), when).toBe(before);
        await expectNothingLeft(host());
      },
    });
    expect(refusals).toBeGreaterThan(1);
    await host().start(clone);
    await host().start(original);
  },
);
