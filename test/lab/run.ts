import { close } from "./close.js";
import { installPackages } from "./debian.js";
import { findGroup, GROUPS } from "./groups.js";
import { runTests } from "./vitest.js";

/**
 * `npm run lab`, after `.ci/prepare`: `--list`, `NAME [FILTER…]`, where a filter is a part of a test file's path, or
 * `--install NAME`, which stops before the tests.
 */
const [first, ...rest] = process.argv.slice(2);
if (first === "--list") list();
else if (first === "--install") await install(rest[0]);
else await run(first, rest);

function list(): void {
  for (const { name, description } of GROUPS) process.stdout.write(`${name.padEnd(14)}${description}\n`);
}

async function install(name: string | undefined): Promise<void> {
  const group = findGroup(name);
  if (group === undefined) refuse(name);
  else process.exitCode = (await installPackages([group])).failed;
}

async function run(name: string | undefined, filters: readonly string[]): Promise<void> {
  const group = findGroup(name);
  if (group === undefined) {
    refuse(name);
  } else {
    const packages = await installPackages([group]);
    close(packages.failed > 0 ? [packages] : [packages, await runTests(group, filters)]);
  }
}

function refuse(name: string | undefined): void {
  const what = name === undefined ? "no group named" : `unknown group ${name}`;
  const known = GROUPS.map((group) => group.name).join(", ");
  process.stderr.write(`error: ${what}\ncause: the groups are ${known}\nhint: npm run lab -- --list\n`);
  process.exitCode = 2;
}
