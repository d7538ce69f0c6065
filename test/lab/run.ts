import { installPackages } from "./debian.js";
import { findGroup, GROUPS } from "./groups.js";
import { close } from "./close.js";
import { runTests } from "./vitest.js";

/** `npm run lab -- NAME | --install NAME | --list`, after `.ci/prepare`. */
const [first, second] = process.argv.slice(2);

if (first === "--list") {
  for (const { name, description } of GROUPS) process.stdout.write(`${name.padEnd(14)}${description}\n`);
} else {
  const installOnly = first === "--install";
  const name = installOnly ? second : first;
  const group = findGroup(name);
  if (group === undefined) {
    const what = name === undefined ? "no group named" : `unknown group ${name}`;
    const known = GROUPS.map((known) => known.name).join(", ");
    process.stderr.write(`error: ${what}\ncause: the groups are ${known}\nhint: npm run lab -- --list\n`);
    process.exitCode = 2;
  } else {
    const packages = await installPackages([group]);
    if (installOnly) process.exitCode = packages.failed;
    else close(packages.failed > 0 ? [packages] : [packages, await runTests(group)]);
  }
}
