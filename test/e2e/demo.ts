/**
 * `npm run demo`: the main job, for real. A private libvirtd, the plugin installed there, one guest with a raw and a
 * qcow2 disk: protected, formatted by the hook of its first start, booted from its encrypted disk by the second.
 * With --json, one JSON object on stdout and nothing else. Exit code 0 if everything held.
 */
import { startLibvirtHost } from "../lab/libvirt-host.js";
import { runDemo } from "./demo-run.js";
import { demoOk, type DemoResult } from "./demo-result.js";

const json = process.argv.includes("--json");
const say = json ? () => undefined : (line: string) => process.stdout.write(`${line}\n`);

const interrupted = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => interrupted.abort());

const result = await demo();
if (json) process.stdout.write(`${JSON.stringify(result)}\n`);
process.exitCode = result.ok ? 0 : 1;

async function demo(): Promise<{ ok: boolean } & Partial<DemoResult> & { error?: string }> {
  try {
    await using host = await startLibvirtHost();
    const result = await runDemo(host, say, interrupted.signal);
    const ok = demoOk(result);
    say(ok ? "\nok: all of it held" : "\nfailed: see above");
    return { ok, ...result };
  } catch (thrown) {
    const error = thrown instanceof Error ? thrown.message : String(thrown);
    process.stderr.write(`the demo stopped: ${error}\n`);
    return { ok: false, error };
  }
}
