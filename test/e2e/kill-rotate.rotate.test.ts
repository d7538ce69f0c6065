import { expect, it } from "vitest";
import { hostForThisFile } from "./support/each-test.js";
import { keepWorld, runAgain, sweep } from "./support/kill-sweep.js";
import { opensWith } from "./support/volumes.js";

const host = hostForThisFile();

it(
  "a rotation can be killed at any call: the keystore's passphrase opens the disk, and the next one ends it",
  { timeout: 300_000 },
  async () => {
    const guest = await host().guest("web1", ["raw", "qcow2"]);
    await host().must("protect", "web1", "--now");
    const blocks = await host().blocks(guest);
    const process = { argv: host().command("rotate", "web1") };
    const expectOpen = async (when: string) => {
      for (const { dev, path, format } of guest.disks) {
        const { passphrase } = await host().key(blocks[dev]);
        using secret = passphrase;
        expect(await opensWith(path, format, secret), `${dev} ${when}`).toBe(true);
      }
    };
    await sweep({
      ...{ host: host(), guest, process, kills: 14 },
      reset: await keepWorld(host()),
      afterKill: expectOpen,
      goOn: async (when) => {
        await runAgain(host(), process, when);
        await expectOpen(when);
        for (const dev of ["vda", "vdb"]) {
          const { record, passphrase } = await host().key(blocks[dev]);
          passphrase.dispose();
          expect([record.rotation, (record.generation ?? 1) > 1], `${dev} ${when}`).toEqual([
            undefined,
            true,
          ]);
        }
      },
    });
    await host().start(guest);
    expect(await host().isRunning(guest)).toBe(true);
  },
);
