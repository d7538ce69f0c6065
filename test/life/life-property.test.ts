import { readFileSync, writeFileSync } from "node:fs";
import fc from "fast-check";
import { expect, it } from "vitest";
import { asLuksmithError } from "../../src/error/luksmith-error.js";
import { Secret } from "../../src/secret/secret.js";
import { programRuns, TIMES } from "../program-runs.js";
import type { ImageFormat } from "../storage/workshop.js";
import { type End, Life } from "./life.js";
import type { Operation } from "./life-operations.js";
import { leftOf, shredDisk } from "./life-shred.js";
import { LifeWorld } from "./life-world.js";

/** What somebody does next, of what the disk allows then, and how that ends. */
interface Happening {
  readonly choice: number;
  readonly end: End | undefined;
  readonly then: "go on" | "leave it" | "the guest writes";
}

const end: fc.Arbitrary<End> = fc.oneof(
  fc.record({ kind: fc.constant("killed" as const), at: fc.integer({ min: 1, max: 40 }) }),
  fc.record({
    kind: fc.constant("keystore gone" as const),
    death: fc.record({
      call: fc.integer({ min: 1, max: 9 }),
      moment: fc.constantFrom("before" as const, "after" as const),
    }),
  }),
);

const happening: fc.Arbitrary<Happening> = fc.record({
  choice: fc.nat({ max: 1000 }),
  end: fc.option(end, { nil: undefined }),
  then: fc.constantFrom("go on" as const, "leave it" as const, "the guest writes" as const),
});

const life = fc.record({
  begins: fc.constantFrom("plain" as const, "encrypted" as const),
  happenings: fc.array(happening, { minLength: 3, maxLength: 6 }),
  shred: fc.option(end, { nil: undefined }),
});

/** What a kill leaves so that the guest cannot start before the command has gone on. */
const HOLDING: readonly Operation[] = [
  "encrypt in place",
  "decrypt in place",
  "separate",
  "restore the header",
];

it.each<[ImageFormat, number]>([
  ["raw", 6],
  ["qcow2", 3],
])(
  "whatever happens to a disk, it opens with a key that the keystore has, or is as it was, on %s",
  { timeout: 300_000 * TIMES },
  async (format, numRuns) => {
    await fc.assert(
      fc.asyncProperty(life, async ({ begins, happenings, shred }) => {
        using world = new LifeWorld(format);
        if (begins === "encrypted") await world.perform("encrypt", new Life());
        const story: string[] = [begins];
        for (const one of happenings) {
          await happen(world, one, story);
          expect(await world.broken(), story.join(", ")).toBeUndefined();
        }
        await settle(world, story);
        expect(await world.broken(), story.join(", ")).toBeUndefined();
        await expectShredded(world, shred, story);
      }),
      programRuns(numRuns),
    );
  },
);

it("tells a disk that is broken", { timeout: 60_000 }, async () => {
  using world = new LifeWorld("raw");
  await world.perform("encrypt", new Life());
  expect(await world.broken()).toBeUndefined();
  const { encryption_secret_uuid: uuid, volume } = await world.place.disk();
  const image = readFileSync(volume.path);

  writeFileSync(volume.path, image.fill(7, image.length - 512));
  expect(await world.broken()).toBe("encrypted, and not the same");
  const key = await world.place.keystore.fetch(uuid!);
  key!.passphrase.dispose();
  using another = Secret.randomPassphrase();
  await world.place.keystore.replace({ record: { ...key!.record, generation: 2 }, passphrase: another });
  expect(await world.broken()).toBe("its key does not open it");
  await world.place.keystore.delete(uuid!);
  expect(await world.broken()).toBe("the keystore does not have its key");
});

async function happen(world: LifeWorld, { choice, end, then }: Happening, story: string[]): Promise<void> {
  const operations = await world.possible();
  const operation = operations[choice % operations.length]!;
  story.push(`${operation} ${end === undefined ? "" : JSON.stringify(end)}`);
  const others = [...world.unfinished].filter((one) => one !== operation);
  const life = new Life(end);
  try {
    await world.perform(operation, life);
  } catch (thrown) {
    const { code } = asLuksmithError(thrown);
    story.push(`-> ${code}`);
    // what is unfinished may keep others from theirs, with a reason
    const isRefused = others.length > 0 && code !== "INTERNAL";
    if (!life.wasCut && !isRefused) throw new Error(story.join(", "), { cause: thrown });
    if (isRefused && !life.wasCut) world.unfinished.delete(operation);
  }
  expect(await world.broken(), story.join(", ")).toBeUndefined();
  if (then === "go on") await settle(world, story);
  if (then === "the guest writes" && HOLDING.every((held) => !world.unfinished.has(held))) {
    story.push("write");
    await world.write();
  }
}

/** The commands that were cut short are run again. */
async function settle(world: LifeWorld, story: string[]): Promise<void> {
  await world.start();
  let failure: unknown;
  for (let round = 0; round < 3 && world.unfinished.size > 0; round++) {
    for (const operation of [...world.unfinished]) {
      story.push(`again ${operation}`);
      if (await world.isMoot(operation)) world.unfinished.delete(operation);
      else
        await world.perform(operation, new Life()).catch((thrown: unknown) => {
          failure = thrown;
          story.push(`-> ${asLuksmithError(thrown).message}`);
        });
    }
  }
  if (world.unfinished.size > 0) throw new Error(story.join(", "), { cause: failure });
}

async function expectShredded(world: LifeWorld, end: End | undefined, story: string[]): Promise<void> {
  const { encryption_secret_uuid: uuid } = await world.place.disk();
  if (uuid === undefined) return;
  story.push(`shred ${end === undefined ? "" : JSON.stringify(end)}`);
  const life = new Life(end);
  const first = await shredDisk(world.place, life).then(
    () => "done",
    (thrown: unknown) => {
      if (!life.wasCut) throw new Error(story.join(", "), { cause: thrown });
      return "cut";
    },
  );
  if (first === "cut" && (await leftOf(world.place, uuid)).length > 0)
    await shredDisk(world.place, new Life());
  expect(await leftOf(world.place, uuid), story.join(", ")).toEqual([]);
}
