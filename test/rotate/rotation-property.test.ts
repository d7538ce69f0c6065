import fc from "fast-check";
import { expect, it } from "vitest";
import { LuksmithError } from "../../src/error/luksmith-error.js";
import type { Secret } from "../../src/secret/secret.js";
import { FakeFailingKeystore } from "../fake/failing-keystore.js";
import { programRuns, TIMES } from "../program-runs.js";
import type { ImageFormat } from "../storage/workshop.js";
import { Killed, Life, RotationWorld } from "./rotation-world.js";

/** What happens to a disk and its key, one after the other. */
type Happening =
  | { readonly kind: "rotate" }
  | { readonly kind: "kill"; readonly end: number }
  | { readonly kind: "keystore-gone"; readonly call: number; readonly moment: "before" | "after" }
  | { readonly kind: "back-up" }
  /** Only of a volume that is in order: what was cut short is finished before. */
  | { readonly kind: "restore" }
  | { readonly kind: "add-recovery" };

const happening: fc.Arbitrary<Happening> = fc.oneof(
  fc.constant<Happening>({ kind: "rotate" }),
  fc.record({ kind: fc.constant("kill" as const), end: fc.integer({ min: 1, max: 24 }) }),
  fc.record({
    kind: fc.constant("keystore-gone" as const),
    call: fc.integer({ min: 1, max: 9 }),
    moment: fc.constantFrom("before" as const, "after" as const),
  }),
  fc.constant<Happening>({ kind: "back-up" }),
  fc.constant<Happening>({ kind: "restore" }),
  fc.constant<Happening>({ kind: "add-recovery" }),
);

it.each<[ImageFormat, number]>([
  ["raw", 8],
  ["qcow2", 3],
])(
  "whatever happens, the keystore has the passphrase of the volume, on %s",
  { timeout: 300_000 * TIMES },
  async (format, numRuns) => {
    const history = fc.array(happening, { minLength: 2, maxLength: 6 });
    await fc.assert(
      fc.asyncProperty(history, async (happenings) => {
        using world = await new RotationWorld(format).format();
        const recoveries: Secret[] = [];
        let copy: Buffer | undefined;
        for (const one of happenings) {
          switch (one.kind) {
            case "rotate":
              await world.rotate();
              break;
            case "kill":
              await world.rotate(new Life(one.end)).catch(ifKilled);
              break;
            case "keystore-gone": {
              const life = new Life();
              life.keystore = () => new FakeFailingKeystore(world.keystore, one);
              await world.rotate(life).catch(ifGone);
              break;
            }
            case "back-up":
              copy = await world.header();
              break;
            case "restore":
              if (copy === undefined) break;
              await world.restore(copy);
              // the volume of this moment is the old one, and its recovery keyslots too
              await world.rotate();
              await world.keystore.change(world.uuid, (record) => ({ ...record, recovery: [] }));
              for (const recovery of recoveries.splice(0)) recovery.dispose();
              break;
            case "add-recovery":
              if ((await world.used()).length < 5) recoveries.push(await world.addRecovery());
          }
          expect(await world.opens(), one.kind).toBe(true);
          for (const recovery of recoveries) expect(await world.opensWith(recovery), one.kind).toBe(true);
        }
        await world.rotate();
        expect([await world.opens(), await world.formersThatOpen()]).toEqual([true, 0]);
        expect((await world.record()).rotation).toBeUndefined();
        for (const recovery of recoveries) recovery.dispose();
      }),
      programRuns(numRuns),
    );
  },
);

function ifKilled(thrown: unknown): void {
  if (!(thrown instanceof Killed)) throw thrown;
}

function ifGone(thrown: unknown): void {
  if (!(thrown instanceof LuksmithError) || thrown.code !== "KEYSTORE_UNAVAILABLE") throw thrown;
}
