import { spawn, spawnSync } from "node:child_process";
import { randomInt, randomUUID } from "node:crypto";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test, vi } from "vitest";
import { RESULTS, runInUml } from "./uml.js";

/** Marks what belongs to one machine: nobody else has this much. */
const oddMemory = () => `${randomInt(300_000, 900_000)}K`;

/** PIDs of linux.uml with that much memory: its kernel, its threads for devices, and one for each address space in it. */
function processesOf(memory: string): string[] {
  return readdirSync("/proc").filter((pid) => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(`\0mem=${memory}\0`);
    } catch {
      return false;
    }
  });
}

test("returns what the command said, left, and its exit code", async () => {
  const script = `echo "$0"; echo trouble >&2; pwd; id -u; printf left >${RESULTS}/file; exit 3`;

  const { exitCode, output, results } = await runInUml(["sh", "-c", script, "it's $HOME"]);

  expect(exitCode).toBe(3);
  expect(output).toBe(`it's $HOME\ntrouble\n${process.cwd()}\n0\n`);
  expect(results.get("file")).toBe("left");
});

test("leaves no process, and no file wherever it wrote", async () => {
  const memory = oddMemory();
  const name = `luksmith-${randomUUID()}`;
  const writable = ["/tmp", "/run", "/etc", "/var/lib", "/var/tmp", "/dev/shm", process.cwd()];
  const files = [...writable, "/usr"].map((place) => join(place, name));
  const script = 'sleep 60 & touch "$@" 2>/dev/null; ls "$@" 2>/dev/null';

  const { output } = await runInUml(["sh", "-c", script, "sh", ...files], { memory });

  expect(output.split("\n").slice(0, -1).sort()).toEqual(files.slice(0, -1).sort());
  expect(files.filter((file) => existsSync(file))).toEqual([]);
  expect(processesOf(memory)).toEqual([]);
});

test("has the targets of device-mapper that tests use, and loads other modules when they are needed", async () => {
  const script = "dmsetup targets; mount -t squashfs none /mnt; cat /proc/filesystems";

  const { output } = await runInUml(["sh", "-c", script]);

  for (const target of [
    "crypt",
    "delay",
    "error",
    "flakey",
    "linear",
    "snapshot",
    "thin",
    "thin-pool",
    "zero",
  ]) {
    expect(output).toMatch(new RegExp(`^${target} `, "m"));
  }
  expect(output).toMatch(/^\tsquashfs$/m);
});

test("ends what does not end, and shows what it said until then", { timeout: 25_000 }, async () => {
  const memory = oddMemory();
  const endless = "echo begun; sleep 60 & sleep 60";

  await expect(runInUml(["sh", "-c", endless], { memory, timeout: 10_000 })).rejects.toThrow(
    /^User-Mode Linux: it did not end within 10 s\nbegun\nits console:\n/,
  );

  expect(processesOf(memory)).toEqual([]);
});

test("shows the console of a kernel that died", async () => {
  await expect(runInUml(["sh", "-c", "echo begun; echo c >/proc/sysrq-trigger"])).rejects.toThrow(
    /^User-Mode Linux: its kernel died\nbegun\nits console:\n[^]*Kernel panic/,
  );
});

test.each(["SIGINT", "SIGTERM", "SIGKILL"] as const)("ends with us, after %s", async (signal) => {
  const memory = oddMemory();
  const script = `import { runInUml } from "./test/lab/uml.ts"; await runInUml(["sleep", "60"], { memory: "${memory}" });`;
  const runner = spawn(process.execPath, ["--import", "tsx", "--input-type=module", "--eval", script]);
  await vi.waitUntil(() => processesOf(memory).length > 1, { timeout: 30_000 });

  runner.kill(signal);
  await once(runner, "exit");

  await vi.waitUntil(() => processesOf(memory).length === 0, { timeout: 5000 });
});

test("a test that needs it fails on any other kernel, and says how to run it", () => {
  const options = ["run", "--config=.config/vitest.config.mjs", "--project=lvm", "test/lab/volume-group"];
  const { status, stderr } = spawnSync(process.execPath, ["node_modules/vitest/vitest.mjs", ...options], {
    encoding: "utf8",
    env: { NO_COLOR: "1" },
  });

  expect(status).toBe(1);
  expect(stderr).toContain("npm run lab -- lvm");
});
