import { expect, it } from "vitest";
import { runDriver } from "../../../fs/run-driver.js";
import { bundle } from "../../../fs/strace.js";
import { temporaryDirectory } from "../../../fs/tree.js";
import { codeOf } from "../../../storage/workshop.js";
import type { BridgeOrder } from "./bridge-process.js";
import { BridgeWorkshop } from "./bridge-workshop.js";

/** In processes of their own: `done`, an error's code, or `killed`. */
async function bridge(): Promise<(order: BridgeOrder) => Promise<string>> {
  const driver = await bundle(new URL("bridge-process.ts", import.meta.url).pathname, temporaryDirectory());
  return (order) => runDriver(driver, order);
}

it(
  "create, killed before any of its steps, loses no key and leaves nothing that free does not remove",
  { timeout: 300_000 },
  async () => {
    const elsewhere = await bridge();
    let kills = 0;
    for (let killedBefore = 1; ; killedBefore++) {
      using workshop = new BridgeWorkshop();
      const ending = await elsewhere({ root: workshop.root, op: "create", killedBefore });
      const when = `step ${killedBefore}`;
      const left = await workshop.base.list();
      const keys = await workshop.keys();
      const { uuid } = await workshop.ask({ op: "size" }).catch(() => ({ uuid: undefined }));
      // what has a header has its key
      if (uuid !== undefined) expect(keys, when).toMatchObject([{ uuid }]);
      if (ending === "done") {
        expect(keys).toMatchObject([{ uuid, state: "active" }]);
        break;
      }
      expect(ending).toBe("killed");
      kills++;
      // the storage plugin goes on with the next name that is free
      const next = left.length === 0 ? "vm-100-disk-0" : "vm-100-disk-1";
      const made = await workshop.create(next);
      expect(await workshop.ask({ op: "size", volume: next }), when).toEqual(made);
      if (left.length > 0) await workshop.free();
      expect(await workshop.base.list(), when).toEqual([next]);
      expect((await workshop.keys()).find((key) => key.uuid === made.uuid)?.freedAt, when).toBeUndefined();
      await workshop.provide(next);
    }
    expect(kills).toBeGreaterThan(8);
  },
);

it(
  "free, killed before any of its steps, keeps the key and is finished by the next one",
  { timeout: 300_000 },
  async () => {
    const elsewhere = await bridge();
    let kills = 0;
    for (let killedBefore = 1; ; killedBefore++) {
      using workshop = new BridgeWorkshop();
      const { uuid } = await workshop.create();
      const ending = await elsewhere({ root: workshop.root, op: "free", killedBefore });
      const when = `step ${killedBefore}`;
      expect(await workshop.keys(), when).toMatchObject([{ uuid }]);
      if (ending !== "done") {
        expect(ending).toBe("killed");
        kills++;
        await workshop.free();
      }
      expect(await workshop.base.list(), when).toEqual([]);
      expect((await workshop.keys())[0]?.freedAt, when).toBeDefined();
      expect(await codeOf(workshop.ask({ op: "size" })), when).toBe("VOLUME_NOT_FOUND");
      if (ending === "done") break;
    }
    expect(kills).toBeGreaterThan(3);
  },
);
