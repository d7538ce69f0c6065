import { execa } from "execa";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  isShim,
  madeDirectoriesOf,
  renderShim,
  type ShimTarget,
} from "../../../src/host/libvirt/shim-script.js";
import { makeRecordingPlugin, type RecordingPlugin } from "./recording-plugin.js";

let directory: string;
let plugin: RecordingPlugin;
let target: ShimTarget;
/** What the recording plugin prints. */
const PRINTED = "printed by a hook";

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "luksmith-shim-"));
  plugin = await makeRecordingPlugin(join(directory, `it's "$(touch x)" \\ \n plugin`));
  const hook = (event: string) => join(plugin.pluginRoot, "dist", "hooks", `${event}.js`);
  const hooks = {
    "pre-start": hook("pre-start"),
    "post-stop": hook("post-stop"),
    "pre-migrate": hook("pre-migrate"),
  };
  const arrivals = join(directory, "it's arrivals");
  target = { version: "0.1.0", node: process.execPath, hooks, arrivals };
});

/** A guest migrates here while `work` goes on. */
async function whileArriving<Result>(work: () => Promise<Result>): Promise<Result> {
  await mkdir(target.arrivals);
  try {
    return await work();
  } finally {
    await rm(target.arrivals, { recursive: true });
  }
}

afterAll(async () => {
  await rm(directory, { recursive: true });
});

async function runShim(argv: string[], changes: Partial<ShimTarget> = {}) {
  const path = join(directory, "shim");
  await writeFile(path, renderShim({ ...target, ...changes }, 0), { mode: 0o755 });
  return await execa(path, argv, {
    input: "<domain/>",
    reject: false,
    env: { NODE_OPTIONS: "--bogus", SECRET: "1" },
  });
}

describe("the shim", () => {
  it.each([
    ["pre-start", "prepare", "begin"],
    ["pre-start", "restore", "begin"],
    ["pre-start", "reconnect", "begin"],
    ["pre-migrate", "migrate", "begin"],
    ["pre-migrate", "started", "begin"],
    ["post-stop", "release", "end"],
  ])("starts %s for %s %s, with libvirt's arguments and input and a clean environment", async (...call) => {
    const [event, operation, subOperation] = call;
    const before = (await plugin.runs()).length;
    const argv = ["-web $(x) '1'", operation, subOperation, "-"];
    const { exitCode, stdout } = await whileArriving(() => runShim(argv));
    // libvirt takes what is printed for the configuration
    expect({ exitCode, stdout }).toEqual({ exitCode: 0, stdout: operation === "migrate" ? PRINTED : "" });
    const runs = (await plugin.runs()).slice(before);
    expect(runs).toMatchObject([{ event, argv: ["libvirt", ...argv], stdin: "<domain/>" }]);
    expect(runs[0]?.env).toEqual({ LC_ALL: "C", PATH: "/usr/sbin:/usr/bin:/sbin:/bin" });
  });

  it.each([
    ["start", "begin"],
    ["started", "begin"],
    ["stopped", "end"],
    ["attach", "begin"],
    ["prepare", "end"],
    ["release", "begin"],
    ["*", "*"],
    ["", ""],
  ])("ends at once for %s %s, even when luksmith is gone", async (...call) => {
    const before = (await plugin.runs()).length;
    const { exitCode, stdout, stderr } = await runShim(["web1", ...call, "-"], { node: "/nonexistent/node" });
    expect({ exitCode, stdout, stderr }).toEqual({ exitCode: 0, stdout: "", stderr: "" });
    expect(await plugin.runs()).toHaveLength(before);
  });

  it.each([
    ["Node", { node: "/nonexistent/node" }],
    [
      "the hook",
      { hooks: { "pre-start": "/nonexistent", "pre-migrate": "/nonexistent", "post-stop": "/nonexistent" } },
    ],
  ])("refuses when %s is gone, and says what to do", async (_, changes) => {
    for (const operation of ["prepare", "restore", "migrate"]) {
      const { exitCode, stdout, stderr } = await runShim(["web1", operation, "begin", "-"], changes);
      expect({ exitCode, stdout }).toEqual({ exitCode: 6, stdout: "" });
      expect(stderr.match(/^\w+(?=: )/gm)).toEqual(["error", "cause", "hint"]);
    }
  });

  it("ends a guest's arrival when luksmith is gone", async () => {
    const gone = { node: "/nonexistent/node" };
    const { exitCode, stderr } = await whileArriving(() => runShim(["web1", "started", "begin", "-"], gone));
    expect(exitCode).toBe(6);
    expect(stderr.match(/^\w+(?=: )/gm)).toEqual(["error", "cause", "hint"]);
  });

  it("refuses when the hook fails, with the hook's own exit code", async () => {
    const failing = join(directory, "failing.js");
    await writeFile(failing, "console.error('error: no'); process.exit(3)");
    const hooks = { "pre-start": failing, "pre-migrate": failing, "post-stop": failing };
    const { exitCode, stderr } = await runShim(["web1", "prepare", "begin", "-"], { hooks });
    expect({ exitCode, stderr }).toEqual({ exitCode: 3, stderr: "error: no" });
  });

  it("refuses when the hook is killed", async () => {
    const killed = join(directory, "killed.js");
    await writeFile(killed, "process.kill(process.pid, 'SIGKILL')");
    const { exitCode } = await runShim(["web1", "prepare", "begin", "-"], {
      hooks: { ...target.hooks, "pre-start": killed },
    });
    expect(exitCode).not.toBe(0);
  });

  it.each([
    ["luksmith is gone", { node: "/nonexistent/node" }],
    ["Node cannot start", { node: "/bin/false" }],
  ])("never fails a reconnect, where libvirt would kill the guest: %s", async (_, changes) => {
    const { exitCode, stdout } = await runShim(["web1", "reconnect", "begin", "-"], changes);
    expect({ exitCode, stdout }).toEqual({ exitCode: 0, stdout: "" });
  });

  it("tells what it is", () => {
    const script = renderShim(target, 2);
    expect(isShim(script)).toBe(true);
    expect(madeDirectoriesOf(script)).toBe(2);
    expect(isShim("#!/bin/sh\nexit 0\n")).toBe(false);
  });
});
