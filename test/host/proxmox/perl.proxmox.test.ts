import { execFile } from "node:child_process";
import { cpSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const PERL = "src/host/proxmox/perl";
const TESTS = "test/host/proxmox/perl";
/** They write to /etc/pve and /run, so each gets some of its own. */
const ON_THEIR_OWN_NODE: readonly string[] = ["real-api.t", "real-engine.t"];
const LIBRARIES = [PERL, "test/fake/proxmox/perl5", join(TESTS, "lib")].map((path) => `-I${path}`);
const TIMEOUT = 300_000;

/** The engine as it is installed, of the sources as they are. */
let plugin: string;

beforeAll(async () => {
  plugin = mkdtempSync(join(tmpdir(), "luksmith-perl-"));
  const rolldown = ["node_modules/rolldown/bin/cli.mjs", "--config", ".config/rolldown.config.mjs"];
  await run(process.execPath, [...rolldown, "--log-level", "warn", "--dir", join(plugin, "dist")]);
  cpSync("plugin.json", join(plugin, "plugin.json"));
});
afterAll(() => rmSync(plugin, { recursive: true }));

/** The program's exit code and all that it wrote. */
async function run(program: string, args: readonly string[]) {
  const env = { ...process.env, LUKSMITH_TEST_PLUGIN: plugin };
  const options = { env, timeout: TIMEOUT, maxBuffer: 2 ** 26 };
  try {
    const { stdout, stderr } = await promisify(execFile)(program, args, options);
    return { code: 0, output: stdout + stderr };
  } catch (thrown) {
    const { code, stdout = "", stderr = "" } = thrown as { code?: number; stdout?: string; stderr?: string };
    return { code: code ?? -1, output: stdout + stderr };
  }
}

const modules = readdirSync(PERL, { recursive: true, withFileTypes: true })
  .filter(({ name }) => name.endsWith(".pm"))
  .map(({ parentPath, name }) => relative(PERL, join(parentPath, name)))
  .sort();
const tests = readdirSync(TESTS)
  .filter((name) => name.endsWith(".t"))
  .sort();

describe("the storage plugin of Proxmox VE", () => {
  it.each(tests)(
    "passes %s",
    async (name) => {
      const prove = ["prove", "-T", "-v", "--merge", ...LIBRARIES, join(TESTS, name)];
      const [program, ...args] = ON_THEIR_OWN_NODE.includes(name)
        ? [join(TESTS, "namespace.sh"), ...prove]
        : prove;
      const { code, output } = await run(program!, args);
      expect(output).toMatch(/^Result: PASS$/m);
      expect(code).toBe(0);
    },
    TIMEOUT,
  );

  it.each(modules)("has a module %s that compiles tainted, without a warning", async (name) => {
    const file = join(PERL, name);
    const { output } = await run("perl", ["-T", ...LIBRARIES, "-c", file]);
    expect(output).toBe(`${file} syntax OK\n`);
  });

  it("is what perlcritic lets pass", async () => {
    const { code, output } = await run("perlcritic", ["--quiet", "--profile", ".config/perlcriticrc", PERL]);
    expect({ code, output }).toEqual({ code: 0, output: "" });
  });
});
