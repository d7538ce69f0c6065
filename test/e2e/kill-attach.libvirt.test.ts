import { describe, expect, it } from "vitest";
import { hostForThisFile } from "./support/each-test.js";
import type { TestGuest } from "./support/guests.js";
import { keepWorld, runAgain, sweep } from "./support/kill-sweep.js";
import { expectNothingLeft } from "./support/nothing-left.js";
import { luksUuidOf, makeVolume } from "./support/volumes.js";

const host = hostForThisFile();

/** QEMU takes a USB disk away without asking; a guest that sits in its firmware lets no other one go. */
const ATTACH = (path: string) => ["attach", "web1", "sdb", path, "--bus", "usb"];

interface World {
  readonly guest: TestGuest;
  readonly path: string;
  /** Makes it as it was, and the guest run. */
  readonly reset: () => Promise<void>;
}

/** A guest that runs with an encrypted disk, and a volume for another one, which `prepare` may have given to it. */
async function world(prepare?: (path: string) => Promise<unknown>): Promise<World> {
  const guest = await host().guest("web1", ["raw"]);
  await host().must("protect", "web1", "--now");
  const path = host().newPath("raw");
  await makeVolume(path, "raw");
  await prepare?.(path);
  const xml = await host().definition(guest);
  const restore = await keepWorld(host());
  const reset = async () => {
    if (await host().isRunning(guest)) await host().stop(guest);
    await host().libvirt.define(xml);
    await restore();
    await host().start(guest);
  };
  return { guest, path, reset };
}

const secrets = async () => (await host().libvirt.secretsLeft()).sort();
const live = (guest: TestGuest) => host().libvirt.virsh("dumpxml", guest.uuid);

describe("killed at any call,", () => {
  it("attach goes on when it is run again, with the same key", { timeout: 400_000 }, async () => {
    const { guest, path, reset } = await world();
    const process = { argv: host().command(...ATTACH(path)) };
    await sweep({
      ...{ host: host(), guest, process, kills: 10, reset },
      afterKill: async (when) => {
        // a start from here on must not write plaintext
        const definition = await host().definition(guest);
        if (definition.includes("sdb")) expect(await luksUuidOf(path, "raw"), when).toBeDefined();
      },
      goOn: async (when) => {
        await runAgain(host(), process, when);
        const { vda, sdb = "" } = await host().blocks(guest);
        expect(await luksUuidOf(path, "raw"), when).toBe(sdb);
        expect(await secrets(), when).toEqual([vda, sdb].sort());
        expect(await live(guest), when).toContain(sdb);
        const states = (await host().keystore().list()).map(({ state }) => state);
        expect(states, when).toEqual(["active", "active"]);
        await expectNothingLeft(host());
      },
    });
  });

  it(
    "detach goes on when it is run again, and only takes this disk's secret",
    { timeout: 400_000 },
    async () => {
      const { guest, path, reset } = await world((path) => host().must(...ATTACH(path)));
      const process = { argv: host().command("detach", "web1", "sdb") };
      await sweep({
        ...{ host: host(), guest, process, kills: 6, reset },
        goOn: async (when) => {
          const { exitCode, stderr } = await host().libvirt.exec(process.argv);
          // killed at its very end, it had done all
          if (exitCode !== 0) expect(stderr, when).toContain("guest web1 has no disk sdb");
          const { vda, sdb } = await host().blocks(guest);
          expect([sdb, await secrets()], when).toEqual([undefined, [vda]]);
          expect(await live(guest), when).not.toContain(path);
          expect(await host().keystore().list(), when).toHaveLength(2);
          await expectNothingLeft(host());
        },
      });
    },
  );
});
