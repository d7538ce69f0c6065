import { Argument, Command } from "commander";
import type { CacheOutput } from "../generated/cache.js";
import validate from "../generated/validate-cache.cjs";
import { type Clearing, clearCopies, type CopyStatus, listCopies } from "../keystore/cache/inventory.js";
import type { KeyUuid } from "../keystore/key-uuid.js";
import { DEFAULT_PROFILE } from "../settings/settings.js";
import { SETTINGS } from "../tokens.js";
import { refreshCommand } from "./cache-refresh.js";
import { collectKeyArguments } from "./key-argument.js";
import { open, requireRoot } from "./open.js";
import { print, printJson, printTable } from "./output.js";

export function cacheCommand(): Command {
  return new Command("cache")
    .summary("copies of keys for the time that their keystore is away")
    .description(
      "Shows, renews and clears this host's copies of keys, which profiles with cache memory or sealed let it keep.",
    )
    .addCommand(listCommand())
    .addCommand(refreshCommand())
    .addCommand(clearCommand());
}

function listCommand(): Command {
  return new Command("list")
    .summary("list the copies, never passphrases")
    .description(
      "Lists this host's copies of keys: whose they are, since when and until when. Never a passphrase.",
    )
    .option("--json", "for machines")
    .action(async ({ json }: { json?: true }) => {
      const copies = await listCopies(open().resolve(SETTINGS));
      if (json) printJson(validate, { copies: copies.map(outputOf) } satisfies CacheOutput);
      else if (copies.length === 0) print("the cache is empty");
      else {
        printTable(
          ["key", "state", "guest", "disk", "profile", "keystore", "since", "expires", "directory"],
          copies.map(rowOf),
        );
      }
    });
}

function outputOf({ uuid, medium: keep, directory, state, copy }: CopyStatus): CacheOutput["copies"][number] {
  if (copy === undefined) return { uuid, keep, directory, state };
  const { keystore, record } = copy;
  const [since, expires] = [copy.since.toISOString(), copy.expires.toISOString()];
  return { uuid, keep, directory, state, keystore, profile: profileOf(record), since, expires, record };
}

function rowOf({ uuid, state, directory, copy }: CopyStatus): string[] {
  if (copy === undefined) return [uuid, state, "", "", "", "", "", "", directory];
  const { record, keystore, since, expires } = copy;
  return [
    ...[uuid, state, record.guest.name, record.disk, profileOf(record), keystore],
    ...[since.toISOString(), expires.toISOString(), directory],
  ];
}

function profileOf({ profile = DEFAULT_PROFILE }: { readonly profile?: string }): string {
  return profile;
}

function clearCommand(): Command {
  return new Command("clear")
    .summary("remove copies; the keys stay in their keystores")
    .description(
      "Removes this host's copies of these keys, or all of them. The keys themselves stay in their keystores.",
    )
    .addArgument(new Argument("[uuid...]", "UUIDs of keys; all without any").argParser(collectKeyArguments))
    .option("--dry-run", "say what would be removed, remove nothing")
    .action(async (uuids: readonly KeyUuid[], { dryRun }: { dryRun?: true }) => {
      requireRoot();
      const chosen = uuids.length === 0 ? {} : { uuids };
      const count = await clearCache(dryRun ? "dry-run" : "apply", chosen);
      if (count === 0) print("there was nothing to remove");
    });
}

/** Says what was, or would be, removed, and how many copies that are. */
export async function clearCache(
  manner: Clearing["manner"],
  chosen: Pick<Clearing, "uuids"> = {},
): Promise<number> {
  const cleared = await clearCopies({ ...chosen, manner });
  for (const { directory, uuids } of cleared) {
    const copies = `${uuids.length} ${uuids.length === 1 ? "copy of a key" : "copies of keys"} in ${directory}`;
    print(`${manner === "dry-run" ? "would remove" : "removed"} ${copies}`);
  }
  return cleared.reduce((sum, { uuids }) => sum + uuids.length, 0);
}
