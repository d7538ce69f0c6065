import { lstatSync, readdirSync, readFileSync, type Stats } from "node:fs";
import { join } from "node:path";
import { errnoOf, LuksmithError } from "../../../error/luksmith-error.js";
import { ifThere } from "../../../fs/if-there.js";

/** The directory of Perl modules of Debian packages, which is in every Perl's @INC. */
export const PERL_LIBRARY = "usr/share/perl5";
/** Under it: PVE::Storage loads every .pm file of its directory, each time one of Proxmox VE's programs starts. */
export const PLUGIN = "PVE/Storage/Custom/LuksmithPlugin.pm";
/** Under it: the directory of all other modules of ours. */
const MODULES = "PVE/Luksmith";
export const PATHS = `${MODULES}/Paths.pm`;

/** The modules that this tree brings: texts by path; the plugin is the last. @throws HOOK_NOT_INSTALLED for a tree without */
export function modulesOf(pluginRoot: string): ReadonlyMap<string, string> {
  const source = join(pluginRoot, "dist/perl");
  const names = ifThere(() => modulesUnder(source, MODULES));
  if (names === undefined || names.length === 0) {
    throw new LuksmithError("HOOK_NOT_INSTALLED", {
      what: "cannot install the storage plugin of Proxmox VE",
      why: `${source} does not hold it`,
      hint: "in a source tree, make it with: npm run build",
    });
  }
  return new Map([...names, PLUGIN].map((name) => [name, readFileSync(join(source, name), "utf8")]));
}

/** The paths of our modules in a library, of this version or another. */
export function installedModules(library: string): string[] {
  return ifThere(() => modulesUnder(library, MODULES)) ?? [];
}

/** The directories of our modules in a library, innermost first. */
export function moduleDirectories(library: string): string[] {
  return ifThere(() => directoriesUnder(library, MODULES)) ?? [];
}

/** What is at a module's place; a file of ours declares the package that its path stands for. */
export function lookAt(library: string, name: string): { readonly text: string } | "absent" | "foreign" {
  const path = join(library, name);
  const stats = statsOf(path);
  if (stats === "absent") return "absent";
  if (stats === "foreign" || !stats.isFile()) return "foreign";
  const text = readFileSync(path, "utf8");
  const declared = /^package ([\w:]+)\s*[;{]/m.exec(text)?.[1];
  return declared === name.replace(/\.pm$/, "").replaceAll("/", "::") ? { text } : "foreign";
}

function statsOf(path: string): Stats | "absent" | "foreign" {
  try {
    return lstatSync(path, { throwIfNoEntry: false }) ?? "absent";
  } catch (thrown) {
    // a directory above it is a file
    if (errnoOf(thrown) === "ENOTDIR") return "foreign";
    throw thrown;
  }
}

function modulesUnder(library: string, directory: string): string[] {
  return readdirSync(join(library, directory), { withFileTypes: true })
    .flatMap((entry) => {
      const name = `${directory}/${entry.name}`;
      if (entry.isDirectory()) return modulesUnder(library, name);
      return entry.name.endsWith(".pm") ? [name] : [];
    })
    .sort();
}

function directoriesUnder(library: string, directory: string): string[] {
  const inner = readdirSync(join(library, directory), { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .flatMap((entry) => directoriesUnder(library, `${directory}/${entry.name}`));
  return [...inner, directory];
}
