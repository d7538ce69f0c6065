// Stands in for the engine where a test asks what the storage plugin tells it, not what it does. It refuses what the
// schemas refuse. A test writes `answers.json` into the engine's directory and reads `asked.jsonl`.
const { appendFileSync, existsSync, readFileSync } = require("node:fs");
const { join } = require("node:path");
const { spawn } = require("node:child_process");
const { Ajv } = require("ajv");

const SCHEMAS = join(__dirname, "../../../schemas");
const UUID = "6e2b3cf5-9d0c-4d54-8a5c-1f3f5d2f7b10";

/** @param {string} directory the engine's @param {"bridge" | "hook"} part */
module.exports = function answer(directory, part) {
  const input = JSON.parse(readFileSync(0, "utf8"));
  const { PATH, HOME, LC_ALL, ...others } = process.env;
  const asked = {
    input,
    argv: process.argv.slice(2),
    environment: Object.keys(others).sort(),
    pid: process.pid,
  };
  appendFileSync(join(directory, "asked.jsonl"), `${JSON.stringify(asked)}\n`);

  const refused = refusal(part === "bridge" ? "bridge-request" : "proxmox-hook-input", input);
  if (refused !== undefined) {
    process.stderr.write(`the schema refuses it: ${refused}\n`);
    process.exit(70);
  }
  const file = join(directory, "answers.json");
  const answers = existsSync(file) ? JSON.parse(readFileSync(file, "utf8")) : {};
  const {
    result,
    error,
    text,
    stderr = "",
    exit = 0,
    signal,
    hangs = false,
  } = answers[part === "bridge" ? input.op : "hook"] ?? {};
  process.stderr.write(stderr);
  if (hangs) return void hang();
  if (signal !== undefined) process.kill(process.pid, signal);
  if (text !== undefined) process.stdout.write(text);
  else if (error !== undefined) process.stdout.write(JSON.stringify({ error }));
  else if (part === "bridge") process.stdout.write(JSON.stringify({ result: result ?? usual(input) }));
  else if (exit === 0) process.stdout.write("luksmith: done\n");
  process.exitCode = error === undefined ? exit : exit || 1;
};

/** With a program that it has started, and without listening to what is said to it. */
function hang() {
  spawn("/bin/sleep", ["60"], { stdio: "ignore" });
  process.on("SIGTERM", () => undefined);
  setTimeout(() => undefined, 60_000);
}

function usual({ op, size }) {
  if (op === "create") return { uuid: UUID, size };
  if (op === "resize") return { size };
  return {};
}

function refusal(name, value) {
  const ajv = new Ajv({ discriminator: true, strictRequired: false, strict: false });
  for (const schema of [
    "cli/error",
    "proxmox/proxmox-storage",
    "proxmox/proxmox-hook-input",
    "proxmox/bridge-request",
  ])
    ajv.addSchema(JSON.parse(readFileSync(join(SCHEMAS, `${schema}.schema.json`), "utf8")));
  const validate = ajv.getSchema(`${name}.schema.json`);
  return validate(value) ? undefined : ajv.errorsText(validate.errors);
}
