import { close } from "./close.js";
import { installPackages } from "./debian.js";
import { checkDemo } from "./demo-report.js";
import { type Group, GROUPS, UNIT } from "./groups.js";
import { runStage } from "./stage.js";
import { PASSED, type Tally } from "./tally.js";
import { runTests } from "./vitest.js";

close(await check());

/**
 * `npm run check` after `.ci/prepare`, which is its first stage and has passed. The quick stages come first, beside the
 * installation of what the tests need. All of them run, also after one that failed, so that one run names everything that
 * is wrong; only without the Debian packages it ends, since every test would fail for want of them.
 */
async function check(): Promise<Tally[]> {
  const [packages, ...quick] = await Promise.all([
    installPackages([UNIT, ...GROUPS]),
    runScripts("lint"),
    runScripts("formatted", "types", "unused"),
  ]);
  const tallies = [PASSED, packages, ...quick.flat()];
  if (packages.failed > 0) return tallies;
  tallies.push(...(await inLanes([UNIT, ...GROUPS])));
  const demo = ["npm", "run", "--silent", "demo", "--", "--json"] as const;
  tallies.push(await runStage({ title: "demo", command: demo, count: checkDemo }));
  return tallies;
}

/** One after the other. */
async function runScripts(...names: readonly string[]): Promise<Tally[]> {
  const tallies: Tally[] = [];
  for (const name of names)
    tallies.push(await runStage({ title: name, command: ["npm", "run", "--silent", name] }));
  return tallies;
}

/**
 * All groups, two at a time: most of them wait for a daemon now and then, and User-Mode Linux has one processor. Those
 * in it take longest and start first.
 */
async function inLanes(groups: readonly Group[]): Promise<Tally[]> {
  const waiting = [...groups].sort((a, b) => Number(b.machine === "uml") - Number(a.machine === "uml"));
  const lane = async () => {
    const tallies: Tally[] = [];
    for (let group = waiting.shift(); group !== undefined; group = waiting.shift()) {
      tallies.push(await runTests(group));
    }
    return tallies;
  };
  return (await Promise.all([lane(), lane()])).flat();
}
