import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { bundle } from "../../fs/strace.js";
import type { ServingOrder } from "./serving-process.js";
import { appears, callAndStay, linesOf, newPath, openSession, post } from "./world.js";

let directory: string;
let driver: string;
beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "luksmith-test-"));
  driver = await bundle(new URL("serving-process.ts", import.meta.url).pathname, directory);
});
afterAll(() => rmSync(directory, { recursive: true }));

const children: ChildProcess[] = [];
afterEach(() => {
  for (const child of children.splice(0)) child.kill("SIGKILL");
});

/** A server in a process, and a process group, of its own, as a terminal starts one. */
async function start({ terminal, ...order }: ServingOrder & { readonly terminal?: "pty" } = {}) {
  const argv = [process.execPath, driver, JSON.stringify(order)];
  // script(1) has the other end of the terminal
  const words = argv.map((word) => `'${word}'`).join(" ");
  const [program = "", ...args] = terminal ? ["script", "-q", "-c", `exec ${words}`, "/dev/null"] : argv;
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"], detached: true });
  children.push(child);
  const said = { out: "", err: "" };
  child.stdout.on("data", (text: Buffer) => (said.out += text.toString()));
  child.stderr.on("data", (text: Buffer) => (said.err += text.toString()));
  while (!said.out.includes("\n")) await once(child.stdout, "data");
  const address = said.out.trim();
  const server = { address, port: Number(new URL(address).port) };
  const ended = once(child, "close").then(([code, signal]) => ({
    code: code as unknown,
    signal: signal as unknown,
  }));
  return { child, server, said, ended, session: await openSession(server) };
}

type Started = Awaited<ReturnType<typeof start>>;

/** A command that runs until `until` is there. */
async function runCommand({ server, session }: Started, told: object = {}) {
  const [began, until, done] = [newPath("began"), newPath("until"), newPath("done")];
  const settings = { began, until, done, ...told };
  const answer = post(server, "/run", { command: "settings-preview", settings }, session);
  // the test may end before it
  answer.catch(() => undefined);
  await appears(began);
  return { answer, until, done, pid: Number(readFileSync(began, "utf8")) };
}

/** The server has got a signal when it starts nothing more. */
async function startsNothingMore({ server, session }: Started): Promise<void> {
  while ((await post(server, "/run", { command: "version" }, session)).status === 200);
}

const ENDED = { code: 0, signal: null };
const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

describe.each(SIGNALS)("after %s", (signal) => {
  it("the server ends at once if nothing runs", async () => {
    const { child, ended, said } = await start();
    child.kill(signal);
    expect(await ended).toEqual(ENDED);
    expect(said.out).toMatch(/\nended\n$/);
    expect(said.err).toBe("");
  });

  it("to the whole process group, what runs is finished, and its page hears the end", async () => {
    const started = await start();
    const { child, ended, said } = started;
    const { answer, until, done } = await runCommand(started, { exit: 3 });
    process.kill(-child.pid!, signal);
    await startsNothingMore(started);
    expect(existsSync(done)).toBe(false);
    writeFileSync(until, "");
    expect((await linesOf(await answer)).at(-1)).toEqual({ exit: 3, stderr: "" });
    expect(await ended).toEqual(ENDED);
    expect(existsSync(done)).toBe(true);
    // after SIGHUP, the terminal that would show it has gone
    expect(said.err).toMatch(
      signal === "SIGHUP" ? /^$/ : /^waiting for: luksmith settings preview --json.*\n$/,
    );
  });
});

describe.each(["SIGINT", "SIGTERM"] as const)("asked a second time, by %s", (signal) => {
  it("what runs is asked to end, and its page hears it", async () => {
    const started = await start();
    const { child, ended, said } = started;
    const { answer, done, pid } = await runCommand(started);
    child.kill("SIGTERM");
    while (!said.err.includes("waiting")) await once(child.stderr, "data");
    child.kill(signal);
    const failed = expect.stringContaining("stopped before its end") as string;
    expect((await linesOf(await answer)).at(-1)).toEqual({ failed });
    expect(await ended).toEqual({ code: 1, signal: null });
    await gone(pid);
    expect(existsSync(done)).toBe(false);
  });

  it("what does not end in time goes on without the server", async () => {
    const started = await start({ patience: 100 });
    const { child, ended, said, server, session } = started;
    const [began, until, done] = [newPath("began"), newPath("until"), newPath("done")];
    await callAndStay(server, session, { began, until, done, deaf: true });
    await appears(began);
    child.kill("SIGTERM");
    while (!said.err.includes("waiting")) await once(child.stderr, "data");
    child.kill(signal);
    expect(await ended).toEqual({ code: 1, signal: null });
    writeFileSync(until, "");
    await appears(done);
  });
});

describe("the end of a terminal ends nothing that runs", () => {
  it.each(SIGNALS)("by SIGHUP, however often, also after %s", async (first) => {
    const started = await start();
    const { child, ended } = started;
    const { answer, until } = await runCommand(started);
    child.kill(first);
    await startsNothingMore(started);
    for (let n = 0; n < 5; n++) {
      child.kill("SIGHUP");
      await startsNothingMore(started);
    }
    writeFileSync(until, "");
    expect((await linesOf(await answer)).at(-1)).toEqual({ exit: 0, stderr: "" });
    expect(await ended).toEqual(ENDED);
  });

  it("as the kernel tells it", async () => {
    const started = await start({ terminal: "pty" });
    const { answer, until } = await runCommand(started);
    started.child.kill("SIGKILL");
    await startsNothingMore(started);
    writeFileSync(until, "");
    expect((await linesOf(await answer)).at(-1)).toEqual({ exit: 0, stderr: "" });
  });
});

it("what runs goes on to its end when the server is killed", async () => {
  const started = await start();
  const { until, done } = await runCommand(started);
  started.child.kill("SIGKILL");
  await started.ended;
  writeFileSync(until, "");
  await appears(done);
});

async function gone(pid: number): Promise<void> {
  while (existsSync(`/proc/${pid}`)) await new Promise(setImmediate);
}
