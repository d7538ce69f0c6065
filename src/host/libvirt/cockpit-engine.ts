/** What Cockpit's page starts as `luksmith`; both paths absolute. */
export interface CockpitEngine {
  readonly version: string;
  readonly node: string;
  readonly cli: string;
}

const MARKER = /^\/\/ Luksmith \S+: what its page in Cockpit starts\./;
const MADE_DIRECTORIES = /^\/\/ Directories made for it, innermost first: ([0-9])$/m;

/** Of `luksmith install`; a package says itself whose its files are. */
const WRITTEN = 'Written by "luksmith install", taken away by "luksmith uninstall".';

/**
 * The page's script that tells how luksmith is started on this host, where it need not be in Cockpit's PATH.
 * @param origin a sentence that says where the file comes from
 */
export function renderCockpitEngine(
  { version, node, cli }: CockpitEngine,
  madeDirectories = 0,
  origin = WRITTEN,
): string {
  return `// Luksmith ${version}: what its page in Cockpit starts. ${origin}
// Directories made for it, innermost first: ${madeDirectories}
window.luksmithEngine = ${JSON.stringify([node, cli])};
`;
}

/** Whether `script` is ours, of any version: then so is the directory that it is in. */
export function isCockpitEngine(script: string): boolean {
  return MARKER.test(script);
}

/** How many directories were made for the page, counted outwards from its own. */
export function madeDirectoriesOf(script: string): number {
  return Number(MADE_DIRECTORIES.exec(script)?.[1] ?? 0);
}
