import { readdir } from "node:fs/promises";
import { expect, it } from "vitest";
import { hostForThisFile } from "./support/each-test.js";
import { runAgain, sweep } from "./support/kill-sweep.js";
import { conversionOf, volumeOf } from "./support/online.js";
import { makeVolume } from "./support/volumes.js";
import { defineWriter, writesOn } from "./support/writing-guest.js";

const host = hostForThisFile();

it(
  "a new volume key for a guest that runs can be killed at any call; the next one ends it, and purge finds all of it",
  { timeout: 600_000 },
  async () => {
    const path = `${host().images}/vm.qcow2`;
    await makeVolume(path, "qcow2");
    const guest = await defineWriter(host(), {
      name: "writer",
      disks: [{ dev: "vda", path, format: "qcow2" }],
    });
    await host().must("protect", guest.name);
    await host().start(guest);
    await writesOn(host(), guest);
    const process = { argv: conversionOf(host(), guest, "vda", { to: "another volume key" }) };
    await sweep({
      ...{ host: host(), guest, process, kills: 8 },
      // each run makes another volume of what the last one has made
      reset: () => Promise.resolve(),
      goOn: async (when) => {
        await runAgain(host(), process, when);
        const { vda } = await host().blocks(guest);
        const { record, passphrase } = await host().key(vda);
        passphrase.dispose();
        const now = await volumeOf(host(), guest, "vda", "live");
        expect([record.state, record.volume], when).toEqual(["active", now]);
        expect(await volumeOf(host(), guest, "vda", "persistent"), when).toBe(now);
        await writesOn(host(), guest);
      },
    });
    const last = await volumeOf(host(), guest, "vda", "live");
    await host().must("purge", guest.name, "--yes");
    const left = (await readdir(host().images)).filter((name) => name.startsWith("vm."));
    expect(left.map((name) => `${host().images}/${name}`)).toEqual([last]);
    await host().stop(guest);
    expect(await host().libvirt.secretsLeft()).toEqual([]);
    await host().start(guest);
    await writesOn(host(), guest);
  },
);
