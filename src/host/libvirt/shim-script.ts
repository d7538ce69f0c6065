import { EXIT } from "../../error/catalogue.js";
import type { PluginManifest } from "../../generated/plugin.js";
import { HOOK_CALLS } from "./events.js";

/** What the shim starts; all paths absolute. */
export interface ShimTarget {
  readonly version: string;
  readonly node: string;
  readonly hooks: PluginManifest["hooks"];
  /** A directory that is there while a guest migrates here. */
  readonly arrivals: string;
}

const MARKER = /^# Luksmith (\S+): libvirt's qemu hook\./m;
const MADE_DIRECTORIES = /^# Directories made for it, innermost first: ([0-9])$/m;

/**
 * The script that libvirt runs for every operation of every guest. It ends at once for what Luksmith does not
 * handle, refuses the start of a guest when Luksmith is gone (it may be encrypted, or have to be), and never fails
 * for `reconnect`, where libvirt would kill the running guest. Node is started through /usr/bin/env to empty the
 * environment, and because AppArmor's profile of libvirtd lets only programs of /usr/bin leave it. Standard output
 * is open for `migrate` only, whose hook may say with what configuration libvirt is to go on: libvirt takes all that is
 * printed for it. `started` concerns only a guest that migrates here: without a note about one it ends at once.
 */
export function renderShim({ version, node, hooks, arrivals }: ShimTarget, madeDirectories: number): string {
  const cases = HOOK_CALLS.map(({ operation, subOperation, kind }) => {
    const condition = kind.cause === "arrival" ? `[ -d ${quote(arrivals)} ] || exit 0; ` : "";
    return `  ${operation}/${subOperation}) ${condition}hook=${quote(hooks[kind.event])} ;;`;
  });
  return `#!/bin/sh
# Luksmith ${version}: libvirt's qemu hook. Written by "luksmith install", taken away by "luksmith uninstall".
# Directories made for it, innermost first: ${madeDirectories}
case "$2/$3" in
${cases.join("\n")}
  *) exit 0 ;;
esac
node=${quote(node)}
[ "$2" = migrate ] || exec >/dev/null

if [ -x "$node" ] && [ -r "$hook" ]; then
  /usr/bin/env -i LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin "$node" "$hook" libvirt "$@"
  code=$?
else
  printf '%s\\n' "error: cannot handle $2 of guest $1: luksmith is not there" "cause: $node or $hook is missing" \\
    "hint: install luksmith again, then run: luksmith install --host libvirt" >&2
  code=${EXIT.configuration}
fi
[ "$2" = reconnect ] || exit "$code"
`;
}

/** Whether `script` is a shim of ours, of any version. */
export function isShim(script: string): boolean {
  return MARKER.test(script);
}

/** How many directories were made for the shim, counted outwards from the one that it is in. */
export function madeDirectoriesOf(script: string): number {
  return Number(MADE_DIRECTORIES.exec(script)?.[1] ?? 0);
}

/** POSIX shell: nothing is special between single quotes but the single quote itself. */
function quote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
