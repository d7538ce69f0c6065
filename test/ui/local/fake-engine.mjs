// Stands for the command line: says how it was called, and does what its standard input tells it.
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { setTimeout } from "node:timers/promises";

const input = readFileSync(0, "utf8");
const {
  say = [],
  times = 1,
  began,
  until,
  done,
  stderr = "",
  exit = 0,
  kill,
  deaf = false,
} = input === "" ? {} : JSON.parse(input);

if (deaf) process.on("SIGTERM", () => undefined);

console.log(JSON.stringify({ args: process.argv.slice(2), env: process.env, hasInput: input !== "" }));
for (const text of say) await new Promise((resolve) => process.stdout.write(text.repeat(times), resolve));
if (began !== undefined) writeFileSync(began, String(process.pid));
// a test that has failed takes the folder away
while (until !== undefined && existsSync(dirname(until)) && !existsSync(until)) await setTimeout(5);
if (done !== undefined) writeFileSync(done, "");
process.stderr.write(stderr);
if (kill !== undefined) process.kill(process.pid, kill);
process.exitCode = exit;
