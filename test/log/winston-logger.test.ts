import { execFile } from "node:child_process";
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { LuksmithError } from "../../src/error/luksmith-error.js";
import type { CommandRunner } from "../../src/exec/command-runner.js";
import { redactDeep } from "../../src/log/redaction.js";
import { WinstonLogger } from "../../src/log/winston-logger.js";
import { Secret } from "../../src/secret/secret.js";

const refuse = () => Promise.reject(new Error("no program may be started here"));
const noRunner: CommandRunner = { run: refuse, hold: refuse };
const SECRET_TEXT = "correct horse battery staple";

let dir: string;
let file: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "luksmith-log-"));
  file = join(dir, "sub", "luksmith.log");
});
afterEach(() => rm(dir, { recursive: true }));

function logger(path = file, fileLevel: "debug" | "info" = "info"): WinstonLogger {
  // nothing of these records is for a person to see
  return new WinstonLogger({ file: path, fileLevel, humanLevel: "error", runner: noRunner });
}

async function records(): Promise<Record<string, unknown>[]> {
  const text = await readFile(file, "utf8");
  return text
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

describe("the log file", () => {
  it("has one JSON object a line, with time, level, message and fields", async () => {
    const log = logger();
    log.info("first", { guest: "web1", event: "pre-start" });
    log.warn("second");
    await log.close();
    expect(await records()).toEqual([
      {
        level: "info",
        message: "first",
        time: expect.stringMatching(/^\d{4}-.*Z$/) as string,
        guest: "web1",
        event: "pre-start",
      },
      { level: "warn", message: "second", time: expect.any(String) as string },
    ]);
  });

  it("is readable by root's group at most", async () => {
    const log = logger();
    log.info("x");
    await log.close();
    expect((await stat(file)).mode & 0o007).toBe(0);
    expect((await stat(join(dir, "sub"))).mode & 0o007).toBe(0);
  });

  it("is not made for what nobody wants to know", async () => {
    const log = logger();
    log.debug("hidden");
    await log.close();
    expect(await readdir(dir)).toEqual([]);
  });

  it("leaves out what is less severe than its level", async () => {
    const log = logger();
    log.debug("hidden");
    log.info("shown");
    await log.close();
    expect((await records()).map((record) => record["message"])).toEqual(["shown"]);
  });

  it("is appended to by a logger that comes later", async () => {
    for (const message of ["one", "two"]) {
      const log = logger();
      log.info(message);
      await log.close();
    }
    expect((await records()).map((record) => record["message"])).toEqual(["one", "two"]);
  });

  it("is not made by a logger that has nothing to say", async () => {
    await logger().close();
    await expect(stat(file)).rejects.toThrow("ENOENT");
  });

  it("that cannot be written stops nothing", async () => {
    await writeFile(join(dir, "occupied"), "");
    const log = logger(join(dir, "occupied", "luksmith.log"));
    log.info("lost");
    await expect(log.close()).resolves.toBeUndefined();
  });

  it("keeps every secret that is alive out, wherever it stands in a record", async () => {
    using secret = Secret.own(Buffer.from(SECRET_TEXT));
    const log = logger();
    const error = new LuksmithError("TOOL_FAILED", {
      what: `said ${SECRET_TEXT}`,
      why: SECRET_TEXT,
      hint: SECRET_TEXT,
    });
    log.info(`message ${SECRET_TEXT}`, { disk: SECRET_TEXT, error });
    await log.close();
    const text = await readFile(file, "utf8");
    expect(text).not.toContain(SECRET_TEXT);
    expect(text).toContain("[redacted]");
    expect(secret.length).toBe(SECRET_TEXT.length);
  });
});

describe("redaction", () => {
  it("replaces secrets, bytes and their text at any depth, and leaves the rest", () => {
    using secret = Secret.own(Buffer.from(SECRET_TEXT));
    const value = { a: [secret, { b: Buffer.from("x"), c: `<${SECRET_TEXT}>` }], d: 1, e: null };
    expect(redactDeep(value)).toEqual({
      a: ["[redacted]", { b: "[redacted]", c: "<[redacted]>" }],
      d: 1,
      e: null,
    });
  });
});

it("says an error to a person in three lines on stderr, and nothing on stdout", async () => {
  const script = join(dir, "script.ts");
  const source = new URL("../../src/", import.meta.url).pathname;
  await writeFile(
    script,
    `import { LuksmithError } from "${source}error/luksmith-error.ts";
     import { WinstonLogger } from "${source}log/winston-logger.ts";
     const log = new WinstonLogger({ file: undefined, fileLevel: "info", humanLevel: "warn", runner: { run: () => Promise.reject(new Error()) } });
     log.info("not for people");
     log.warn("be careful");
     log.error("failed", { error: new LuksmithError("KEY_NOT_FOUND", { what: "w", why: "y", hint: "h" }) });
     void log.close();`,
  );
  const tsx = new URL("../../node_modules/.bin/tsx", import.meta.url).pathname;
  const { stdout, stderr } = await promisify(execFile)(tsx, [script]);
  expect(stderr).toBe("warning: be careful\nerror: w\ncause: y\nhint: h\n");
  expect(stdout).toBe("");
});
