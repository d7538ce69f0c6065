import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspect } from "node:util";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { LuksmithError } from "../../src/error/luksmith-error.js";
import { type Command, ExecaCommandRunner } from "../../src/exec/command-runner.js";
import { secretFile } from "../../src/secret/secret-file.js";
import { Secret } from "../../src/secret/secret.js";

const runner = new ExecaCommandRunner();
let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "luksmith-test-"));
});
afterEach(() => rmSync(directory, { recursive: true }));

/** flock(1) becomes any program, which makes it the tool for asking what a child gets. */
function shell(script: string, command: Partial<Command> = {}) {
  return runner.run({ tool: "flock", args: ["--no-fork", directory, "sh", "-c", script], ...command });
}

async function failureOf(run: Promise<unknown>): Promise<LuksmithError> {
  const thrown = await run.then(
    () => undefined,
    (error: unknown) => error,
  );
  if (thrown instanceof LuksmithError) return thrown;
  throw new Error(`expected a LuksmithError, got ${inspect(thrown)}`);
}

describe("a child", () => {
  test("answers with its exit code, stdout and stderr as they are", async () => {
    expect(await shell("echo out; echo err >&2")).toEqual({ exitCode: 0, stdout: "out\n", stderr: "err\n" });
  });

  test("gets each argument as it is, without a shell between", async () => {
    const argument = "a b;$(touch /tmp/x) 'q' \"d\" *\n";
    const { stdout } = await runner.run({ tool: "flock", args: [directory, "printf", "%s", argument] });

    expect(stdout).toBe(argument);
  });

  test("has no variable of ours in its environment", async () => {
    process.env["LUKSMITH_TEST"] = "x";
    const { stdout } = await shell("exec /usr/bin/env");
    delete process.env["LUKSMITH_TEST"];

    // the shell adds PWD itself
    expect(stdout.trim().split("\n").sort()).toEqual([
      "LC_ALL=C",
      "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
      "PWD=/",
    ]);
  });

  test("runs in / and so keeps no mount busy", async () => {
    expect((await shell("pwd")).stdout).toBe("/\n");
  });

  test("has an empty standard input, unless it is given one", async () => {
    expect((await shell("cat; echo end")).stdout).toBe("end\n");
    expect((await shell("cat; echo end", { input: "text " })).stdout).toBe("text end\n");
    expect((await shell("cat; echo end", { input: Buffer.from("bytes ") })).stdout).toBe("bytes end\n");
  });

  test("may leave its input unread", async () => {
    expect((await shell("exit 0", { input: Buffer.alloc(1 << 20) })).exitCode).toBe(0);
  });

  test("reads the given descriptors as its 3, 4, …", async () => {
    const [first, second] = [Secret.own(Buffer.from("first ")), Secret.own(Buffer.from("second"))];
    using a = secretFile(first);
    using b = secretFile(second);
    const { stdout } = await shell("cat /proc/self/fd/3 /proc/self/fd/4", { fds: [a.fd, b.fd] });

    expect(stdout).toBe("first second");
  });
});

describe("an exit code", () => {
  test("that the caller called an answer is no failure", async () => {
    expect(await shell("echo no >&2; exit 4", { answers: [1, 4] })).toEqual({
      exitCode: 4,
      stdout: "",
      stderr: "no\n",
    });
  });

  test("that nobody expected is TOOL_FAILED with the last line of stderr", async () => {
    const { code, message, why } = await failureOf(
      shell("echo first >&2; echo ' last ' >&2; echo out; exit 3"),
    );

    expect({ code, message, why }).toEqual({ code: "TOOL_FAILED", message: "flock failed", why: "last" });
  });

  test("is told where the tool said nothing", async () => {
    expect((await failureOf(shell("exit 3"))).why).toBe("exit code 3");
    expect((await failureOf(shell("kill -TERM $$"))).why).toBe("killed by SIGTERM");
  });

  test("of a real tool fails the same way", async () => {
    const volume = join(directory, "not-luks");
    writeFileSync(volume, "x".repeat(4096));
    const isLuks: Command = { tool: "cryptsetup", args: ["isLuks", "--", volume] };

    expect((await failureOf(runner.run(isLuks))).code).toBe("TOOL_FAILED");
    expect((await runner.run({ ...isLuks, answers: [1] })).exitCode).toBe(1);
    expect(readFileSync(volume, "utf8")).toBe("x".repeat(4096));
  });
});

test("a program that cannot be started is TOOL_FAILED with the reason", async () => {
  // longer than Linux allows for one argument (execve(2), MAX_ARG_STRLEN)
  const { code, why } = await failureOf(runner.run({ tool: "blkid", args: ["x".repeat(1 << 18)] }));

  expect({ code, why }).toEqual({ code: "TOOL_FAILED", why: "it could not be started: E2BIG" });
});

describe("a timeout", () => {
  const readPid = () => Number(readFileSync(join(directory, "pid"), "utf8"));

  test("kills the child and is TOOL_TIMEOUT", async () => {
    const { code } = await failureOf(shell(`echo $$ >${directory}/pid; exec sleep 600`, { timeout: 1000 }));

    expect(code).toBe("TOOL_TIMEOUT");
    expect(() => process.kill(readPid(), 0)).toThrow("ESRCH");
  });

  test("does not wait for what the child left running with its pipes", async () => {
    const { code } = await failureOf(shell(`sleep 600 & echo $! >${directory}/pid; wait`, { timeout: 1000 }));

    expect(code).toBe("TOOL_TIMEOUT");
    process.kill(readPid(), "SIGKILL");
  });
});

describe("a child in a session of its own", () => {
  const SESSION =
    "read -r pid name state parent group session rest </proc/self/stat; echo $session $group $pid";

  test("leads it", async () => {
    const { stdout } = await shell(`exec sh -c '${SESSION}'`, {
      session: { end: new AbortController().signal },
    });
    const [session, group, pid] = stdout.trim().split(" ");

    expect([session, group]).toEqual([pid, pid]);
    const elsewhere = (await shell(`exec sh -c '${SESSION}'`)).stdout.trim().split(" ");
    expect(elsewhere[0]).not.toBe(elsewhere[2]);
  });

  test("is asked to end with all that it has started", async () => {
    const end = new AbortController();
    const run = shell("sleep 600 & echo $!; wait", {
      session: { end: end.signal },
      timeout: 0,
      onOutput: () => end.abort(),
    });
    // once the pipe that the sleeping one holds as well is closed
    expect((await failureOf(run)).code).toBe("TOOL_FAILED");
  });

  test("is asked where that was known before", async () => {
    const run = shell("exec sleep 600", { session: { end: AbortSignal.abort() }, timeout: 0 });

    expect((await failureOf(run)).why).toBe("killed by SIGTERM");
  });

  test("may finish what it does first", async () => {
    const end = new AbortController();
    const { stdout } = await shell(
      "trap 'echo cleaned; exit 0' TERM; echo begun; while :; do sleep 0.01; done",
      {
        session: { end: end.signal },
        timeout: 0,
        onOutput: () => end.abort(),
      },
    );
    expect(stdout).toBe("begun\ncleaned\n");
  });
});

describe("a held program", () => {
  const hold = (script: string, command: Partial<Command> = {}) =>
    runner.hold({ tool: "flock", args: ["--no-fork", directory, "sh", "-c", script], ...command });
  const isFree = async () =>
    (await runner.run({ tool: "flock", args: ["-n", directory, "true"], answers: [1] })).exitCode === 0;

  test("has what it should hold until it is disposed of", async () => {
    const holder = await hold("echo held; cat >/dev/null");
    if (holder.kind !== "held") throw new Error(holder.stderr);
    expect(await isFree()).toBe(false);
    expect(holder.isRunning).toBe(true);
    await holder[Symbol.asyncDispose]();
    expect(holder.isRunning).toBe(false);
    await runner.run({ tool: "flock", args: [directory, "true"] });
  });

  test("is known to have ended", async () => {
    const holder = await hold(`echo held; echo $$ >${directory}/pid; exec cat`);
    if (holder.kind !== "held") throw new Error(holder.stderr);
    await expect.poll(() => readFileSync(join(directory, "pid"), "utf8")).toMatch(/\n/);
    process.kill(Number(readFileSync(join(directory, "pid"), "utf8")), "SIGKILL");
    await expect.poll(() => holder.isRunning).toBe(false);
    await holder[Symbol.asyncDispose]();
  });

  test("gives its answer when it ends without having anything", async () => {
    expect(await hold("echo busy >&2; exit 1", { answers: [1] })).toEqual({
      kind: "ended",
      exitCode: 1,
      stdout: "",
      stderr: "busy\n",
    });
    expect((await failureOf(hold("echo busy >&2; exit 1"))).code).toBe("TOOL_FAILED");
  });

  test("is killed when it is not ready in time", async () => {
    const { code } = await failureOf(hold(`echo $$ >${directory}/pid; exec sleep 600`, { timeout: 1000 }));

    expect(code).toBe("TOOL_TIMEOUT");
    expect(() => process.kill(Number(readFileSync(join(directory, "pid"), "utf8")), 0)).toThrow("ESRCH");
  });
});

describe("an error", () => {
  test("never shows a live secret that the tool repeated", async () => {
    const passphrase = Secret.own(Buffer.from("correct horse battery staple"));
    const missing = join(directory, "correct horse battery staple");
    const error = await failureOf(runner.run({ tool: "qemu-img", args: ["info", "--", missing] }));
    passphrase.dispose();

    expect(error.why).toContain("[redacted]");
    expect(inspect(error, { depth: 9, showHidden: true })).not.toContain("horse battery");
  });

  test("never shows the input", async () => {
    const error = await failureOf(shell("cat >/dev/null; exit 1", { input: "correct horse battery staple" }));

    expect(inspect(error, { depth: 9, showHidden: true })).not.toContain("horse battery");
  });
});
