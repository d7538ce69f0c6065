import { existsSync, writeFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { LuksmithError } from "../../../src/error/luksmith-error.js";
import type { RunLine } from "../../../src/ui/local/protocol.js";
import { RecordingCommandRunner } from "../../fake/recording-command-runner.js";
import { FAKE_ENGINE } from "./server-parts.js";
import { appears, callAndStay, linesOf, newPath, openSession, post, serve } from "./world.js";

const DIGEST = "0".repeat(64);

/** A session, and what the command that it runs is told to do. */
async function page() {
  const server = await serve();
  const session = await openSession(server);
  return {
    server,
    session,
    run: (value: unknown) => post(server, "/run", value, session),
    do: (settings: object) => post(server, "/run", { command: "settings-preview", settings }, session),
  };
}

/** How the command was called, which it says itself in its first line. */
function callIn([first]: RunLine[]) {
  if (first === undefined || !("out" in first)) throw new Error("the command was not run");
  return JSON.parse(first.out) as { args: string[]; env: Record<string, string>; hasInput: boolean };
}

describe("a command", () => {
  it("is run as commandLineOf says, with an environment of its own", async () => {
    const { run } = await page();
    const guest = "7f3a4c6e-0000-4000-8000-000000000001";
    const disks = ["vda", "vdb"];
    const lines = await linesOf(
      await run({ command: "protect", guest, disks, profile: "gold", content: "convert", manner: "dry-run" }),
    );
    const { args, env } = callIn(lines);
    const options = ["--disk", "vda", "--disk", "vdb", "--profile", "gold", "--convert", "--dry-run"];
    expect(args).toEqual(["protect", "--json", ...options, "--", guest]);
    expect(
      Object.keys(env)
        .filter((name) => name !== "SUDO_UID")
        .sort(),
    ).toEqual(["LC_ALL", "PATH"]);
    expect(lines.at(-1)).toEqual({ exit: 0, stderr: "" });
  });

  it("is told who has called sudo, for the audit log", async () => {
    const { run } = await page();
    process.env["SUDO_UID"] = "1234";
    const { env } = callIn(await linesOf(await run({ command: "version" })));
    delete process.env["SUDO_UID"];
    expect(env["SUDO_UID"]).toBe("1234");
  });

  it("gets settings, with their secrets, on its standard input and nowhere else", async () => {
    const { run } = await page();
    const settings = { password: "correct horse battery staple" };
    const lines = await linesOf(await run({ command: "settings-set", settings, digest: DIGEST }));
    expect(callIn(lines)).toMatchObject({ hasInput: true });
    expect(JSON.stringify(lines)).not.toContain("battery");
  });

  it("that wants no input has none", async () => {
    const { run } = await page();
    expect(callIn(await linesOf(await run({ command: "status" })))).toMatchObject({ hasInput: false });
  });

  it("is heard line by line while it runs", async () => {
    const { server, session } = await page();
    const [began, until] = [newPath("began"), newPath("until")];
    const answer = await post(
      server,
      "/run",
      { command: "settings-preview", settings: { say: ["half ", "line\n", "next\n"], began, until } },
      session,
    );
    const reader = answer.body!.pipeThrough(new TextDecoderStream()).getReader();
    let heard = "";
    while (!heard.includes('{"out":"next"}\n')) heard += (await reader.read()).value ?? "";
    expect(heard).toContain('{"out":"half line"}\n');
    expect(heard).not.toContain('"exit"');
    writeFileSync(until, "");
    for (let part = await reader.read(); !part.done; part = await reader.read()) heard += part.value;
    expect(heard).toMatch(/\{"exit":0,"stderr":""\}\n$/);
  });

  it.each<[what: string, say: string[], lines: string[]]>([
    ["a last line without an end", ["a\nb"], ["a", "b"]],
    ["empty lines", ["a\n\n\nb\n"], ["a", "", "", "b"]],
    ["characters that end lines elsewhere", ["a\u2028b\rc\u0085\n"], ["a\u2028b\rc\u0085"]],
    ["characters of several bytes", ["é💾".repeat(50_000), "\n"], ["é💾".repeat(50_000)]],
    ["many lines at once", ["x\n".repeat(20_000)], Array<string>(20_000).fill("x")],
  ])("may say %s", async (_, say, expected) => {
    const lines = await linesOf(await (await page()).do({ say }));
    expect(lines.slice(1, -1).map((line) => "out" in line && line.out)).toEqual(expected);
  });

  it.each([1, 2, 3, 4, 5, 6])("may end with exit code %i", async (exit) => {
    const lines = await linesOf(await (await page()).do({ exit, stderr: "error: no\nhint: yes\n" }));
    expect(lines.at(-1)).toEqual({ exit, stderr: "error: no\nhint: yes\n" });
  });

  it.each([{ kill: "SIGKILL" }, { exit: 70 }])("that does not end by itself (%j) says so", async (told) => {
    const lines = await linesOf(await (await page()).do(told));
    expect(lines.at(-1)).toEqual({ failed: expect.stringContaining("before its end") as string });
  });

  it("that cannot be started says why", async () => {
    const runner = new RecordingCommandRunner();
    runner.before = () => {
      throw new LuksmithError("TOOL_MISSING", { what: "cannot run node", why: "it is in no directory" });
    };
    const server = await serve({}, runner);
    const answer = await post(server, "/run", { command: "version" }, await openSession(server));
    const failed = "The command could not be run: cannot run node, it is in no directory.";
    expect(await linesOf(answer)).toEqual([{ failed }]);
  });

  it("is a process of its own session, without a limit of time", async () => {
    const runner = new RecordingCommandRunner();
    const server = await serve({}, runner);
    const settings = { password: "correct horse battery staple" };
    const value = { command: "settings-test", settings, keystore: "vault" };
    await linesOf(await post(server, "/run", value, await openSession(server)));
    const test = ["settings", "test", "--json", "--progress", "--stdin", "vault"];
    expect(runner.commands).toMatchObject([
      { tool: "node", args: [FAKE_ENGINE, ...test], timeout: 0, session: expect.anything() as object },
    ]);
    expect(runner.lines.join()).not.toContain("battery");
  });

  it("goes on to its end when the browser goes away", async () => {
    const { server, session, run } = await page();
    const [began, until, done] = [newPath("began"), newPath("until"), newPath("done")];
    const leave = await callAndStay(server, session, { began, until, done, say: ["x\n".repeat(1000)] });
    await appears(began);
    leave();
    await linesOf(await run({ command: "version" }));
    expect(server.running).toEqual(["luksmith settings preview --json"]);
    writeFileSync(until, "");
    await appears(done);
  });
});

describe("what is no command of a page", () => {
  const protect = { command: "protect", guest: "7f3a", disks: ["vda"], manner: "apply" };
  it.each<[what: string, value: unknown]>([
    ["nothing", undefined],
    ["not an object", ["version"]],
    ["no command", {}],
    ["an unknown command", { command: "keys-export" }],
    ["a name of every object", { command: "__proto__" }],
    ["words of its own", { command: "version", args: ["keys", "export"] }],
    ["an option for a guest", { ...protect, guest: "--dry-run" }],
    ["a guest's name", { ...protect, guest: "web1" }],
    ["a guest with a line end", { ...protect, guest: "7f3a\n" }],
    ["several guests", { ...protect, guest: ["7f3a", "7f3b"] }],
    ["an option for a disk", { ...protect, disks: ["--convert"] }],
    ["a path for a disk", { ...protect, disks: ["../vda"] }],
    ["two words for a disk", { ...protect, disks: ["vda --convert"] }],
    ["no disk", { ...protect, disks: [] }],
    ["too many disks", { ...protect, disks: Array<string>(1025).fill("vda") }],
    ["an option for a profile", { ...protect, profile: "--convert" }],
    ["another content", { ...protect, content: "wipe" }],
    ["another manner", { ...protect, manner: "force" }],
    ["no manner", { command: "reap" }],
    ["a digest that is none", { command: "settings-set", settings: {}, digest: "--force" }],
    ["settings as text", { command: "settings-set", settings: "{}", digest: DIGEST }],
    ["a path for a keystore", { command: "settings-test", settings: {}, keystore: "/etc/passwd" }],
    ["an option for a keystore", { command: "settings-test", settings: {}, keystore: "-x" }],
  ])("%s is refused, and nothing is run", async (_, value) => {
    const { server, run } = await page();
    const answer = await run(value ?? "");
    expect(answer.status).toBe(400);
    expect(await answer.json()).toMatchObject({ refusal: "request" });
    expect(server.running).toEqual([]);
  });

  it("is not repeated in the refusal, since secrets may be in it", async () => {
    const { run } = await page();
    const secret = "correct horse battery staple";
    for (const value of [
      `{"command":"settings-set","settings":{"password":"${secret}"`,
      { command: "settings-set", settings: secret, digest: secret },
      { command: "settings-set", settings: {}, digest: DIGEST, [secret]: secret },
      { command: secret },
    ])
      expect(await (await run(value)).text()).not.toContain("battery");
  });
});

it("eight commands run at once, and a ninth is asked to wait", async () => {
  const { server, do: start, run } = await page();
  const until = newPath("until");
  const marks = Array.from({ length: 8 }, () => newPath("began"));
  const answers = marks.map((began) => start({ began, until }));
  await Promise.all(marks.map(appears));
  const ninth = await run({ command: "version" });
  expect(ninth.status).toBe(503);
  expect(await ninth.json()).toMatchObject({ refusal: "busy" });
  expect(server.running).toHaveLength(8);
  writeFileSync(until, "");
  await Promise.all(answers.map(async (answer) => linesOf(await answer)));
  expect((await run({ command: "version" })).status).toBe(200);
  expect(existsSync(until)).toBe(true);
});
