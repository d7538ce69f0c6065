import { GROUPS, UNIT } from "./groups.js";
import { checkDemo } from "./demo-report.js";
import { installPackages } from "./debian.js";
import { runStage } from "./stage.js";
import { PASSED, type Tally } from "./tally.js";
import { close } from "./close.js";
import { runTests } from "./vitest.js";

/**
 * `npm run check` after `.ci/prepare`, which counts as the first stage. The quick stages come first; all of them
 * run, also after one that failed, so that one run names everything that is wrong. Without the Debian packages the
 * tests would only fail for want of them: that ends the check.
 */
const npm = (title: string, script: string) =>
  runStage({ title, command: ["npm", "run", "--silent", script] });

const tallies: Tally[] = [PASSED];
tallies.push(await npm("lint", "lint"));
tallies.push(await npm("types", "types"));
tallies.push(await npm("unused code and dependencies", "unused"));

const packages = await installPackages([UNIT, ...GROUPS]);
tallies.push(packages);
if (packages.failed === 0) {
  for (const group of [UNIT, ...GROUPS]) tallies.push(await runTests(group));
  tallies.push(
    await runStage({
      title: "demo",
      command: ["npm", "run", "--silent", "demo", "--", "--json"],
      count: checkDemo,
    }),
  );
}
close(tallies);
