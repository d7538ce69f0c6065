import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { ifThere } from "../fs/if-there.js";
import type { Actor } from "./entry.js";

/** What the kernel has for a process that no login has made: a service, a hook of a daemon. */
const UNSET = 4_294_967_295;
/** The argument of a hook that says nothing of a guest. */
const HOST_MANAGERS: ReadonlySet<string> = new Set(["libvirt", "proxmox"]);

let called: string | undefined;

/** For a command line that was understood: `luksmith keys export`, and none of the arguments, which name guests. */
export function nameCommand(names: readonly string[]): void {
  called = names.join(" ");
}

/** The user that this process works for, and what it was called as; never its options. */
export function currentActor(argv: readonly string[] = process.argv): Actor {
  return { uid: loginUser() ?? process.getuid?.() ?? UNSET, command: called ?? hookIn(argv) };
}

/** `pre-start libvirt`: what comes after it names a guest. */
function hookIn([, script = "luksmith", manager = ""]: readonly string[]): string {
  const program = basename(script).replace(/\.[cm]?[jt]s$/, "");
  return HOST_MANAGERS.has(manager) ? `${program} ${manager}` : program;
}

/**
 * The user that has logged in, which `su` and `sudo` do not change: the kernel's word, or what sudo says where the host
 * has no audit. Undefined where nobody has.
 */
export function loginUser(): number | undefined {
  const login = Number(ifThere(() => readFileSync("/proc/self/loginuid", "latin1")) ?? UNSET);
  if (Number.isInteger(login) && login !== UNSET) return login;
  const sudo = process.env["SUDO_UID"] ?? "";
  return /^[0-9]{1,10}$/.test(sudo) ? Number(sudo) : undefined;
}
