import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { createProgram } from "../../src/cli/program.js";
import * as opened from "../../src/cli/open.js";
import * as output from "../../src/cli/write-output.js";
import * as input from "../../src/cli/standard-input.js";
import { compose } from "../../src/container.js";
import { parseSettings } from "../../src/settings/load.js";
import { temporaryDirectory, treeOf } from "../fs/tree.js";
import { fileKeystore } from "../keystore/file/file-keystore.fixture.js";
import { sampleRecord, storeText } from "../keystore/sample-key.js";

let stdout: Buffer[];
let stderr: string;
let directory: string;

beforeEach(async () => {
  stdout = [];
  stderr = "";
  directory = join(temporaryDirectory(), "keystore");
  await storeText(fileKeystore(directory), sampleRecord(), "passphrase");
  vi.spyOn(process.stdout, "write").mockImplementation((...args: unknown[]) => {
    // what is written may be wiped as soon as it is written
    stdout.push(Buffer.from(args[0] as Buffer));
    const done = args.find((arg) => typeof arg === "function") as ((error?: Error) => void) | undefined;
    done?.();
    return true;
  });
  vi.spyOn(output, "writeStandardOutput").mockImplementation((bytes) => {
    stdout.push(Buffer.from(bytes));
  });
  vi.spyOn(process.stderr, "write").mockImplementation((text) => (stderr += String(text)) !== "");
  useSettings({ type: "file" });
});
afterEach(() => vi.restoreAllMocks());

function useSettings(protector: object): void {
  const keystores = [
    { name: "local", type: "file", directory, protector },
    {
      name: "hq",
      type: "vault",
      url: "https://127.0.0.1:1",
      auth: { method: "token", tokenFile: "/nowhere" },
    },
  ];
  const settings = parseSettings(JSON.stringify({ version: 1, keystores }), "test");
  vi.spyOn(opened, "open").mockReturnValue(compose({ settings, host: "libvirt", humanLevel: "warn" }));
}

/** What `luksmith keystore ARGS` prints on standard output. */
async function keystore(...args: string[]): Promise<string> {
  await createProgram().parseAsync(["node", "luksmith", "keystore", ...args]);
  return Buffer.concat(stdout.splice(0)).toString();
}

describe("keystore show", () => {
  it("shows protectors, for people and for machines", async () => {
    useSettings({ type: "systemd-creds" });
    expect(await keystore("show")).toBe(
      `keystore local (file)
  directory   ${directory}
  keys        1
  master key  present
  protector   file; the settings say systemd-creds: luksmith keystore reprotect
  recovery    no passphrase
keystore hq (vault)
`,
    );
    expect(JSON.parse(await keystore("show", "local", "--json"))).toEqual({
      keystores: [
        {
          ...{ name: "local", type: "file", directory, keys: 1, masterKey: "present" },
          protector: { stored: "file", settings: "systemd-creds", differs: true },
        },
      ],
    });
  });

  it("names the known ones when it is asked for another", async () => {
    await expect(keystore("show", "x")).rejects.toMatchObject({
      code: "KEYSTORE_UNKNOWN",
      hint: "the settings have: local, hq",
    });
    await expect(keystore("reprotect", "hq")).rejects.toMatchObject({
      code: "KEYSTORE_UNKNOWN",
      why: expect.stringContaining("vault") as string,
    });
  });
});

describe("keystore reprotect and recovery", () => {
  it("print the passphrase alone and once, and take it back", async () => {
    const printed = await keystore("recovery", "create", "local");
    expect(printed).toMatch(/^([0-9A-Z]{5}-){7}[0-9A-Z]{5}\n$/);
    expect(stderr).toContain("is made");
    expect(stderr).not.toContain(printed.slice(0, 11));
    const path = join(directory, "master-key.json");
    const stored = JSON.parse(readFileSync(path, "utf8")) as Record<string, unknown>;
    writeFileSync(path, JSON.stringify({ ...stored, key: "lost" }));
    vi.spyOn(input, "readStandardInput").mockImplementation(() => Buffer.from(printed.toLowerCase()));
    expect(await keystore("recovery", "restore", "local", "--dry-run")).toMatch(/^would restore/);
    expect(await keystore("recovery", "restore", "local")).toBe(
      "restored the master key of keystore local under protector file\n",
    );
    expect(JSON.parse(readFileSync(path, "utf8"))).toEqual(stored);
    expect(await keystore("recovery", "remove", "local")).toBe(
      "removed the recovery passphrase of keystore local\n",
    );
    expect(await keystore("recovery", "remove", "local")).toBe("keystore local has no recovery passphrase\n");
  });

  it("name the group that is mistyped, and change nothing", async () => {
    const printed = await keystore("recovery", "create", "local");
    const before = treeOf(directory);
    const wrong = printed.slice(0, 12) + (printed[12] === "0" ? "1" : "0") + printed.slice(13);
    vi.spyOn(input, "readStandardInput").mockImplementation(() => Buffer.from(wrong));
    await expect(keystore("recovery", "restore", "local")).rejects.toMatchObject({
      code: "RECOVERY_REJECTED",
      message: "the recovery passphrase is mistyped in group 3",
    });
    expect(treeOf(directory)).toEqual(before);
  });

  it("leave the earlier recovery passphrase in force when a new one cannot be shown", async () => {
    await keystore("recovery", "create", "local");
    const before = treeOf(directory);
    const full = openSync("/dev/full", "w");
    vi.mocked(output.writeStandardOutput).mockRestore();
    vi.spyOn(process.stdout, "fd", "get").mockReturnValue(full as 1);
    await expect(keystore("recovery", "create", "local", "--replace")).rejects.toMatchObject({
      code: "OUTPUT_UNWRITABLE",
    });
    closeSync(full);
    expect(treeOf(directory)).toEqual(before);
    expect(stderr.match(/is made/g)).toHaveLength(1);
  });

  it("change nothing with --dry-run", async () => {
    const before = treeOf(directory);
    expect(await keystore("recovery", "create", "local", "--dry-run")).toBe(
      "would make a recovery passphrase for keystore local\n",
    );
    expect(await keystore("reprotect", "local", "--dry-run")).toBe(
      "would put the master key of keystore local under protector file; it was under file\n",
    );
    expect(treeOf(directory)).toEqual(before);
  });
});

describe("a line that is typed at a terminal", () => {
  it("is not shown there", async () => {
    const script = join(temporaryDirectory(), "type.ts");
    const module = new URL("../../src/cli/hidden-line.ts", import.meta.url).href;
    writeFileSync(
      script,
      `import { readHiddenLine } from ${JSON.stringify(module)};
readHiddenLine("Passphrase: ").then((line) => console.log("typed " + line.length + " " + line.toString("hex")));`,
    );
    const command = `${process.execPath} --import tsx ${script}`;
    const terminal = spawn("script", ["-qec", command, "/dev/null"]);
    let output = "";
    terminal.stdout.on("data", (bytes) => {
      output += String(bytes);
      // raw mode comes with the prompt
      if (String(bytes).includes("Passphrase: "))
        setTimeout(() => terminal.stdin.write("sesamX\x7f!\r"), 200);
    });
    await once(terminal, "close");
    expect(output).toContain(`typed 6 ${Buffer.from("sesam!").toString("hex")}`);
    expect(output).not.toContain("sesam");
  });
});
