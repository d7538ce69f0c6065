import { close } from "./close.js";
import { installPackages } from "./debian.js";
import { checkDemo } from "./demo-report.js";
import { batchesOf, type Group, GROUPS, UNIT } from "./groups.js";
import { runStage } from "./stage.js";
import { PASSED, type Tally } from "./tally.js";
import { runTests } from "./vitest.js";

close(await check());

/**
 * `npm run check` after `.ci/prepare`, which is its first stage and has passed. The quick stages come first. All of
 * them run, also after one that failed, so that one run names everything that is wrong; only without the Debian
 * packages it ends, since every test would fail for want of them.
 */
async function check(): Promise<Tally[]> {
  const tallies = [PASSED];
  for (const script of ["lint", "formatted", "types", "unused"]) {
    tallies.push(await runStage({ title: script, command: ["npm", "run", "--silent", script] }));
  }
  const packages = await installPackages([UNIT, ...GROUPS]);
  tallies.push(packages);
  if (packages.failed > 0) return tallies;
  // User-Mode Linux has one processor: beside it, the groups of this machine follow each other
  const batches = batchesOf([UNIT, ...GROUPS]);
  const there = batches.filter(([group]) => group?.machine === "uml");
  const here = batches.filter((batch) => !there.includes(batch));
  tallies.push(...(await Promise.all([runBatches(there), runBatches(here)])).flat());
  const demo = ["npm", "run", "--silent", "demo", "--", "--json"] as const;
  tallies.push(await runStage({ title: "demo", command: demo, count: checkDemo }));
  return tallies;
}

async function runBatches(batches: readonly (readonly Group[])[]): Promise<Tally[]> {
  const tallies: Tally[] = [];
  for (const batch of batches) tallies.push(await runTests(batch));
  return tallies;
}
