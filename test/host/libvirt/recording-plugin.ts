import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { EVENTS, type EventName } from "../../../src/host/host-adapter.js";
import { makePageFiles } from "./page-files.js";

/** One run of a hook of the plugin. */
export interface HookRun {
  readonly event: EventName;
  readonly argv: string[];
  readonly env: Record<string, string>;
  readonly stdin: string;
  /** Whether libvirtd answered about its secrets while it waited for the hook. */
  readonly secretsAnswered: boolean;
}

export interface RecordingPlugin {
  readonly pluginRoot: string;
  runs(): Promise<HookRun[]>;
}

/** A plugin in `directory` whose hooks only write down how they were run. */
export async function makeRecordingPlugin(directory: string): Promise<RecordingPlugin> {
  const log = join(directory, "runs.log");
  await mkdir(join(directory, "dist", "hooks"), { recursive: true });
  await writeFile(join(directory, "plugin.json"), await readFile("plugin.json"));
  await writeFile(log, "");
  // for hosts that have Cockpit
  await makePageFiles(directory);
  for (const event of EVENTS) {
    const path = join(directory, "dist", "hooks", `${event}.js`);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, `const event = "${event}", log = ${JSON.stringify(log)};\n${RECORD}`);
  }
  return {
    pluginRoot: directory,
    async runs() {
      const lines = (await readFile(log, "utf8")).split("\n").slice(0, -1);
      return lines.map((line) => JSON.parse(line) as HookRun);
    },
  };
}

const RECORD = `
const { appendFileSync, readFileSync } = require("node:fs");
const { spawnSync } = require("node:child_process");
const virsh = spawnSync("/usr/bin/virsh", ["-c", "qemu:///system", "secret-list"], { timeout: 10000 });
const run = { event, argv: process.argv.slice(2), env: process.env, stdin: readFileSync(0, "utf8") };
appendFileSync(log, JSON.stringify({ ...run, secretsAnswered: virsh.status === 0 }) + "\\n");
console.log("printed by a hook");
`;
