import type { InstallPlaces } from "../../install-places.js";

const NODE = /^our \$NODE\s*=\s*'[^']*';$/m;
const ENGINE = /^our \$ENGINE\s*=\s*'[^']*';$/m;
const MADE_DIRECTORIES = /^# Directories made for the plugin, innermost first: ([0-9])$/m;

/**
 * PVE::Luksmith::Paths with a tree's own values, made from the module as the package has it.
 * @param madeDirectories how many directories above the plugin file were made for it
 */
export function renderPaths(
  module: string,
  { node, pluginRoot }: Pick<InstallPlaces, "node" | "pluginRoot">,
  madeDirectories: number,
): string {
  return `${replaced(replaced(module, NODE, `our $NODE   = ${quoted(node)};`), ENGINE, `our $ENGINE = ${quoted(pluginRoot)};`)}
# Written by "luksmith install", taken away by "luksmith uninstall".
# Directories made for the plugin, innermost first: ${madeDirectories}
`;
}

/** How many directories were made for the plugin file, counted outwards from the one that it is in. */
export function madeDirectoriesOf(module: string): number {
  return Number(MADE_DIRECTORIES.exec(module)?.[1] ?? 0);
}

function replaced(module: string, line: RegExp, by: string): string {
  if (!line.test(module)) throw new Error(`the module of paths has no line ${line.source}`);
  return module.replace(line, () => by);
}

/** Perl: only a backslash and the quote itself are special between single quotes. */
function quoted(text: string): string {
  return `'${text.replace(/[\\']/g, "\\$&")}'`;
}
