import { expect, it } from "vitest";
import { hostForThisFile } from "./support/each-test.js";
import { expectFinished, keepWorld, sweep } from "./support/kill-sweep.js";

const host = hostForThisFile();

it(
  "protect --now can be killed at any call: the next one goes on with the same keys",
  { timeout: 120_000 },
  async () => {
    const guest = await host().guest("web1", ["raw", "qcow2"]);
    const bare = await host().definition(guest);
    const reset = await keepWorld(host());
    const process = { argv: host().command("protect", "web1", "--now") };
    await sweep({
      ...{ host: host(), guest, process, kills: 16 },
      reset: async () => {
        await host().define(guest);
        expect(await host().definition(guest)).toBe(bare);
        await reset();
      },
      goOn: async (when) => {
        expect(await host().libvirt.secretsLeft(), when).toEqual([]);
        const { exitCode, stderr } = await host().libvirt.exec(process.argv);
        expect({ exitCode, stderr }, when).toEqual({ exitCode: 0, stderr: "" });
        await expectFinished(host(), guest, when);
      },
    });
    await host().start(guest);
    expect(await host().isRunning(guest)).toBe(true);
  },
);
