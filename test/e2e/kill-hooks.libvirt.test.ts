import { expect, it } from "vitest";
import { hostForThisFile } from "./support/each-test.js";
import { FLAVOR_ASKS } from "./support/guests.js";
import { hookCall, savedStart } from "./support/hook-calls.js";
import { expectFinished, keepWorld, runAgain, sweep } from "./support/kill-sweep.js";

const host = hostForThisFile();
const TIMEOUT = 300_000;

it(
  "the hook of a first start can be killed at any call: keys are kept, and the next start finishes",
  { timeout: TIMEOUT },
  async () => {
    const guest = await host().guest("web1", ["raw", "qcow2"], {
      metadata: FLAVOR_ASKS,
      blocks: "of unknown keys",
    });
    const stdin = await savedStart(host(), guest);
    const [start, stop] = [
      hookCall(host(), "pre-start", guest, stdin),
      hookCall(host(), "post-stop", guest, stdin),
    ];
    const secrets = guest.disks.map(({ secretUuid }) => secretUuid);
    const reset = await keepWorld(host());
    await sweep({
      ...{ host: host(), guest, process: start, kills: 18, reset },
      afterKill: async (when) => {
        for (const uuid of await host().libvirt.secretsLeft()) expect(secrets, when).toContain(uuid);
      },
      goOn: async (when) => {
        // libvirtd reports the end of a start that failed
        await runAgain(host(), stop, when);
        expect(await host().libvirt.secretsLeft(), when).toEqual([]);
        await runAgain(host(), start, when);
        expect((await host().libvirt.secretsLeft()).sort(), when).toEqual(secrets.toSorted());
        await runAgain(host(), stop, when);
        await expectFinished(host(), guest, when);
      },
    });
  },
);

it(
  "the hook of a stop can be killed at any call: no key is touched, and the next one finishes",
  { timeout: TIMEOUT },
  async () => {
    const guest = await host().guest("web1", ["raw", "qcow2"]);
    await host().must("protect", "web1", "--now");
    const stdin = await savedStart(host(), guest);
    const [start, stop] = [
      hookCall(host(), "pre-start", guest, stdin),
      hookCall(host(), "post-stop", guest, stdin),
    ];
    await sweep({
      ...{ host: host(), guest, process: stop, kills: 6 },
      reset: () => runAgain(host(), start, "before"),
      goOn: async (when) => {
        await runAgain(host(), stop, when);
        expect(await host().libvirt.secretsLeft(), when).toEqual([]);
        await expectFinished(host(), guest, when);
      },
    });
  },
);
