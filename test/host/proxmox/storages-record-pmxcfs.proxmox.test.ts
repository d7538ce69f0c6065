import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { ExecaCommandRunner } from "../../../src/exec/command-runner.js";
import { readStoragesRecord } from "../../../src/host/proxmox/read-storages-record.js";
import { forgetStorage, recordStorage } from "../../../src/host/proxmox/storages-record.js";
import { type FakePmxcfs, startFakePmxcfs } from "../../lab/pmxcfs.js";
import { runDriver } from "../../fs/run-driver.js";
import { bundle } from "../../fs/strace.js";
import { temporaryDirectory } from "../../fs/tree.js";
import type { RecordOrder } from "./record-process.js";

const runner = new ExecaCommandRunner();
const storage = (id: string) => ({ id, base: { type: "directory" as const, path: `/srv/${id}` } });
type Places = Parameters<typeof readStoragesRecord>[0];

let pmxcfs: FakePmxcfs;
let here: Places;
let there: Places;
let count = 0;

beforeAll(async () => {
  pmxcfs = await startFakePmxcfs(2);
});
afterAll(async () => {
  await pmxcfs[Symbol.asyncDispose]();
});
beforeEach(() => {
  const name = `luksmith-${count++}/storages.json`;
  const [one = "", other = ""] = pmxcfs.nodes.map((node) => join(node, name));
  [here, there] = [{ storagesRecord: one }, { storagesRecord: other }];
});

/** IDs in the record, as this node sees it. */
function recorded(places: Places): string[] | string {
  const record = readStoragesRecord(places);
  return record.kind === "known" ? record.storages.map(({ id }) => id) : record.kind;
}

describe("the record of encrypted storages on /etc/pve", () => {
  it("has what either node has recorded or forgotten, as both see it", async () => {
    await recordStorage(storage("sa"), here, runner);
    await recordStorage(storage("sb"), there, runner);
    expect([recorded(here), recorded(there)]).toEqual([
      ["sa", "sb"],
      ["sa", "sb"],
    ]);
    await forgetStorage("sa", there, runner);
    await recordStorage(storage("sc"), here, runner);
    expect(recorded(there)).toEqual(["sb", "sc"]);
    expect(readdirSync(dirname(here.storagesRecord))).toEqual(["storages.json"]);
  });

  it("stays as it was without a quorum, says so, and is still read", async () => {
    await recordStorage(storage("sa"), here, runner);
    const before = readFileSync(there.storagesRecord, "utf8");
    pmxcfs.set("no-quorum");
    try {
      for (const change of [recordStorage(storage("sb"), here, runner), forgetStorage("sa", there, runner)])
        await expect(change).rejects.toMatchObject({
          code: "SETTINGS_UNWRITABLE",
          hint: expect.stringContaining("pvecm status") as string,
        });
      expect(recorded(here)).toEqual(["sa"]);
      // nothing is written for what is there already, or is not
      await recordStorage(storage("sa"), there, runner);
      await forgetStorage("sz", here, runner);
    } finally {
      pmxcfs.set("writable");
    }
    expect(readFileSync(there.storagesRecord, "utf8")).toBe(before);
    await recordStorage(storage("sb"), there, runner);
    expect(recorded(here)).toEqual(["sa", "sb"]);
  });

  it(
    "is whole after a kill at any step, and the next change clears what was left",
    { timeout: 110_000 },
    async () => {
      const driver = await bundle(
        new URL("record-process.ts", import.meta.url).pathname,
        temporaryDirectory(),
      );
      let kills = 0;
      for (let killedBefore = 1; ; killedBefore++) {
        const id = `s${killedBefore}`;
        await recordStorage(storage("sa"), here, runner);
        const order: RecordOrder = { path: here.storagesRecord, id, killedBefore };
        const ending = await runDriver(driver, order);
        const when = `step ${killedBefore}`;
        expect([["sa"], ["sa", id].sort()], when).toContainEqual(recorded(there));
        await recordStorage(storage(id), there, runner);
        expect(recorded(here), when).toEqual(["sa", id].sort());
        expect(readdirSync(dirname(here.storagesRecord)), when).toEqual(["storages.json"]);
        await forgetStorage(id, there, runner);
        if (ending === "done") break;
        kills++;
      }
      expect(kills).toBeGreaterThan(3);
    },
  );
});
