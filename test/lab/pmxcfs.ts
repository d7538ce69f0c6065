import { execa } from "execa";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { until } from "./guarded-daemon.js";

const PROGRAM = fileURLToPath(new URL("../fake/proxmox/fake-pmxcfs.py", import.meta.url));

/** `writable` again; or as the cluster is without quorum, or after the disk below the database was full. */
export type Writing = "writable" | "no-quorum" | "database-failed";

/** A fake of Proxmox VE's cluster file system: what /etc/pve shows on each of some nodes. */
export interface FakePmxcfs extends AsyncDisposable {
  /** Mount points, one for each node; each has a kernel cache of its own. */
  readonly nodes: readonly string[];
  set(writing: Writing): void;
}

/** Needs the package python3-fusepy. Unmounted by `dispose`, and when this process ends. */
export async function startFakePmxcfs(count = 1): Promise<FakePmxcfs> {
  // as the real one, it keeps everything in memory
  const state = mkdtempSync("/dev/shm/luksmith-pmxcfs-");
  const nodes = Array.from({ length: count }, (_, index) => join(state, `node${index + 1}`));
  const fake = execa("/usr/bin/python3", [PROGRAM, state, String(count)], {
    env: { LC_ALL: "C.UTF-8", PATH: "/usr/sbin:/usr/bin:/sbin:/bin" },
    extendEnv: false,
    // an interrupt of the terminal must not reach it before it has unmounted
    detached: true,
    cleanup: false,
    reject: false,
    stdin: "pipe",
  });
  await until(() => {
    const table = readFileSync("/proc/self/mountinfo", "utf8");
    if (!nodes.every((node) => table.includes(` ${node} `))) throw new Error("not mounted yet");
  });
  fake.unref();
  const switches = ["no-quorum", "database-failed"] as const;
  return {
    nodes,
    set(writing) {
      for (const name of switches) {
        if (name === writing) writeFileSync(join(state, name), "");
        else rmSync(join(state, name), { force: true });
      }
    },
    async [Symbol.asyncDispose]() {
      fake.ref();
      const ended = once(fake, "exit");
      fake.stdin.end();
      await ended;
    },
  };
}
