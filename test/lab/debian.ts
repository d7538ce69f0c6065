import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import type { DebianPackage, Group } from "./groups.js";
import { runStage } from "./stage.js";
import { PASSED, type Tally } from "./tally.js";

/**
 * Installs what `groups` need and the machine lacks. Nothing missing: one dpkg-query, and not a word. The package
 * lists are fetched only when an installation fails with the lists that are there (none, or outdated ones).
 */
export async function installPackages(groups: readonly Group[]): Promise<Tally> {
  const missing = missingPackages(groups.flatMap((group) => group.packages));
  if (missing.length === 0) return PASSED;
  return runStage({
    title: "Debian packages",
    command: ["sh", "-c", `${INSTALL} || { apt-get update; ${INSTALL}; }`, "sh", ...missing],
  });
}

const INSTALL =
  "DEBIAN_FRONTEND=noninteractive apt-get -y --no-install-recommends " +
  '-o DPkg::Lock::Timeout=300 -o Dpkg::Options::=--force-confold install "$@"';

/** The names of those of `packages` that this Debian release has and that are not installed. */
export function missingPackages(packages: readonly DebianPackage[], release = debianRelease()): string[] {
  const wanted = new Set(
    packages.flatMap((item) => {
      if (typeof item === "string") return item;
      return item.since <= release ? item.name : [];
    }),
  );
  const query = spawnSync(
    "dpkg-query",
    ["--show", "--showformat=${Package} ${db:Status-Status}\n", "--", ...wanted],
    {
      encoding: "utf8",
    },
  );
  if (query.error !== undefined) throw query.error;
  const known = new Set(query.stdout.split("\n"));
  return [...wanted].filter((name) => !known.has(`${name} installed`));
}

/** 12 or 13; testing and unstable have no number and are newer than all. */
function debianRelease(): number {
  const version = /^VERSION_ID="?(\d+)/m.exec(readFileSync("/etc/os-release", "utf8"))?.[1];
  return version === undefined ? Infinity : Number(version);
}
