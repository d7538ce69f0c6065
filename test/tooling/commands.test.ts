import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { missingPackages } from "../lab/debian.js";
import { checkDemo } from "../lab/demo-report.js";
import { runStage, type Stage } from "../lab/stage.js";
import { FAILED, PASSED } from "../lab/tally.js";

function lab(...args: string[]) {
  return spawnSync(process.execPath, ["--import", "tsx", "test/lab/run.ts", ...args], { encoding: "utf8" });
}

describe("npm run lab", () => {
  test("--list names each group and what it is for", () => {
    const { status, stdout } = lab("--list");

    expect(status).toBe(0);
    expect(stdout).toMatch(/^libvirt +\S.*$/m);
  });

  test.each([[["nothing-such"]], [["--install", "nothing-such"]], [["--install"]], [[]]])(
    "%j is a usage error that names the groups",
    (args) => {
      const { status, stdout, stderr } = lab(...args);

      expect({ status, stdout }).toEqual({ status: 2, stdout: "" });
      expect(stderr).toMatch(/^cause: .*libvirt/m);
    },
  );
});

test("a command by another user than root is refused before anything is done", () => {
  const asNobody = ["--reuid=65534", "--regid=65534", "--clear-groups", "sh", "-s"];
  const { status, stdout, stderr } = spawnSync("setpriv", asNobody, {
    cwd: "/",
    encoding: "utf8",
    // on stdin, since nobody may not be able to read it here
    input: readFileSync(".ci/prepare"),
  });

  expect({ status, stdout }).toEqual({ status: 1, stdout: "" });
  expect(stderr).toMatch(/^error: .*\ncause: .*\nhint: .*root.*\n$/);
});

describe("Debian packages", () => {
  test("that are installed are not missing", () => {
    expect(missingPackages(["dpkg", "coreutils", "no-such-package"])).toEqual(["no-such-package"]);
    expect(missingPackages(["dpkg"])).toEqual([]);
  });

  test("are wanted only by releases that have them", () => {
    const split = { name: "no-such-package", since: 13 };

    expect(missingPackages([split], 12)).toEqual([]);
    expect(missingPackages([split], 13)).toEqual(["no-such-package"]);
    expect(missingPackages([split], Infinity)).toEqual(["no-such-package"]);
  });
});

describe("a stage", () => {
  const shown: string[] = [];
  const stage = (script: string, count?: Stage["count"]) =>
    runStage({ title: "lint", command: ["sh", "-c", script], ...(count && { count }) });

  beforeEach(() => {
    shown.length = 0;
    vi.spyOn(process.stderr, "write").mockImplementation((text) => shown.push(String(text)) > 0);
  });
  afterEach(() => vi.restoreAllMocks());

  test("that passes is one line", async () => {
    expect(await stage("echo much; echo noise >&2")).toEqual(PASSED);
    expect(shown.join("")).toMatch(/^lint +ok +\d+ s\n$/);
  });

  test.each(["exit 3", "kill -KILL $$"])("that fails by `%s` shows all its output", async (end) => {
    expect(await stage(`echo out; echo err >&2; ${end}`)).toEqual(FAILED);
    expect(shown.join("")).toMatch(/^lint +FAILED +\d+ s\n/);
    expect(shown.join("").split("\n")).toEqual(expect.arrayContaining(["out", "err"]));
  });

  test("that is no program fails by what it throws, and shows it", async () => {
    const command = () => Promise.reject(new Error("the kernel died"));

    expect(await runStage({ title: "tests: lvm", command })).toEqual(FAILED);
    expect(shown.join("")).toContain("the kernel died\n");
  });

  test("that cannot be counted fails and says why", async () => {
    const count = () => {
      throw new Error("no report");
    };

    expect(await stage("exit 0", count)).toEqual(FAILED);
    expect(shown.join("")).toContain("no report\n");
  });
});

describe("the demo's output", () => {
  const disk = (device: string, uuid: string) => ({
    ...{ device, backend: "raw", format: "luks", luksVersion: 1, plaintextFound: false },
    ...{ luksUuid: uuid, secretUuid: uuid },
  });
  const good = {
    ok: true,
    events: ["pre-start", "post-stop", "pre-start", "post-stop"],
    disks: [disk("vda", "a"), disk("vdb", "b")],
    guestMarkerReadBack: true,
    independentReader: true,
    distinctPassphrases: true,
    secretsLeft: 0,
    mappingsLeft: 0,
  };
  const check = (result: object, exitCode = 0) =>
    checkDemo({ exitCode, stdout: `${JSON.stringify(result)}\n` });

  test("is one JSON object whose claims hold", () => {
    expect(check(good)).toEqual(PASSED);
  });

  test.each<[string, object]>([
    ["a secret left", { secretsLeft: 1 }],
    ["a marker in plaintext", { disks: [{ ...disk("vda", "a"), plaintextFound: true }, disk("vdb", "b")] }],
    ["one key for two disks", { disks: [disk("vda", "a"), disk("vdb", "a")] }],
    ["a wrong claim of its own", { ok: false }],
    ["a missing event", { events: ["pre-start"] }],
  ])("fails with %s", (_, change) => {
    expect(() => check({ ...good, ...change })).toThrow("exit code 0");
  });

  test("fails with anything else on stdout, or another exit code", () => {
    expect(() => checkDemo({ exitCode: 0, stdout: `setting up\n${JSON.stringify(good)}\n` })).toThrow(
      "exit code 0",
    );
    expect(() => checkDemo({ exitCode: 0, stdout: "" })).toThrow("exit code 0");
    expect(() => check(good, 1)).toThrow("exit code 1");
  });
});
