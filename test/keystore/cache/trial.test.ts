import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { ExecaCommandRunner } from "../../../src/exec/command-runner.js";
import { tryCopies } from "../../../src/keystore/cache/trial.js";
import { treeOf } from "../../fs/tree.js";
import { activeRecord, CacheWorld } from "./cache-world.js";

function trial(world: CacheWorld) {
  return tryCopies(world.settings, new ExecaCommandRunner(), world.places, world.now);
}

describe("a trial of the copies", () => {
  it("says nothing of a cache that there is not", async () => {
    expect(await trial(new CacheWorld({ cache: "off" }))).toBeUndefined();
  });

  it("counts those that open, and says why others do not, with nothing changed", async () => {
    const world = new CacheWorld();
    const [one, other] = [activeRecord(), activeRecord()];
    for (const record of [one, other]) await world.outcome(record);
    const directory = world.places[0]!.path;
    expect(await trial(world)).toEqual({ usable: 2, unusable: 0, reasons: [] });

    writeFileSync(join(directory, "records", `${one.uuid}.json`), "{");
    const before = treeOf(directory);
    expect(await trial(world)).toEqual({
      ...{ usable: 1, unusable: 1 },
      reasons: [`a copy in ${directory} is damaged`],
    });
    writeFileSync(join(directory, "master-key.json"), "{}");
    expect(await trial(world)).toMatchObject({
      ...{ usable: 0, unusable: 2 },
      reasons: [expect.stringMatching(/master key .* cannot be used/)],
    });
    expect(Object.keys(treeOf(directory))).toEqual(Object.keys(before));
    rmSync(join(directory, "master-key.json"));
    expect(await trial(world)).toMatchObject({ usable: 0, unusable: 2 });
    world.hoursLater(24);
    expect(await trial(world)).toMatchObject({ usable: 0, unusable: 1 });
  });
});
