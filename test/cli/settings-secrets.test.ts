import { spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { ErrorOutput } from "../../src/generated/error.js";
import type { SettingsGetOutput } from "../../src/generated/settings-get.js";
import type { SettingsSetOutput } from "../../src/generated/settings-set.js";
import type { SettingsTestOutput } from "../../src/generated/settings-test.js";
import { temporaryDirectory } from "../fs/tree.js";
import { commandLine } from "./luksmith.js";

const SECRET = "hunter2-hunter2";

/** A host whose settings, keystores and memory are the test's own: mounted for the commands that run in it. */
function privateHost() {
  const root = temporaryDirectory();
  for (const name of ["etc", "run", "keys"]) mkdirSync(join(root, name), { mode: 0o755 });
  const script = `
    mount -t tmpfs -o mode=0755 tmpfs /mnt && mkdir /mnt/up /mnt/work
    mount -t overlay -o lowerdir=/etc,upperdir=/mnt/up,workdir=/mnt/work overlay /etc
    mkdir -p /etc/luksmith && mount --bind "$1/etc" /etc/luksmith
    mount -t tmpfs -o mode=0755 tmpfs /run
    shift
    "$@"
    code=$?
    find /run -mindepth 2 >&2
    exit $code`;
  const run = (args: readonly string[], input: string | Buffer) => {
    const { status, stdout, stderr } = spawnSync(
      "unshare",
      ["--mount", "--propagation", "private", "sh", "-c", script, "sh", root, ...commandLine(args)],
      { encoding: "utf8", input },
    );
    return { status, stdout, stderr };
  };
  return { run, etc: join(root, "etc"), keys: join(root, "keys/none") };
}

const vault = {
  name: "hq",
  type: "vault",
  url: "http://127.0.0.1:1",
  auth: { method: "token", token: SECRET },
};
const settingsOf = (...keystores: object[]) => JSON.stringify({ version: 1, keystores });

describe("secrets on the command line's standard input", () => {
  it("are saved apart, never shown, and kept by whoever sends back what is stored", () => {
    const host = privateHost();
    const set = host.run(["settings", "set", "--json"], settingsOf(vault));
    expect(set.status, set.stderr).toBe(0);
    const saved = JSON.parse(set.stdout) as SettingsSetOutput;
    expect(saved).toMatchObject({ change: "saved", path: "/etc/luksmith/settings.json", warnings: [] });

    const got = host.run(["settings", "get", "--json"], "");
    const { stored, secretsSet, digest } = JSON.parse(got.stdout) as SettingsGetOutput;
    expect([secretsSet, digest]).toEqual([["/keystores/0/auth/token"], saved.digest]);
    for (const text of [set.stdout, set.stderr, got.stdout, got.stderr]) expect(text).not.toContain(SECRET);
    expect(readFileSync(join(host.etc, "settings.json"), "utf8")).not.toContain(SECRET);

    const again = host.run(["settings", "set", "--digest", digest], JSON.stringify(stored));
    expect(again.status, again.stderr).toBe(0);
    const [name = ""] = readdirSync(join(host.etc, "secrets"));
    expect(readFileSync(join(host.etc, "secrets", name), "utf8")).toBe(SECRET);
  });

  it("are checked and not written by a dry run", () => {
    const host = privateHost();
    const { status, stdout } = host.run(["settings", "set", "--dry-run", "--json"], settingsOf(vault));
    expect([status, JSON.parse(stdout)]).toMatchObject([0, { change: "checked" }]);
    expect(readdirSync(host.etc)).toEqual([]);
  });

  it("are in no error, which says on one line what is wrong and where", () => {
    const host = privateHost();
    const bad = { ...vault, auth: { method: "token", token: `${SECRET}\n` } };
    const { status, stdout, stderr } = host.run(["settings", "set", "--json"], settingsOf(bad));
    expect(status).toBe(6);
    expect(stdout.trimEnd().split("\n")).toHaveLength(1);
    expect((JSON.parse(stdout) as ErrorOutput).error).toMatchObject({
      code: "SETTINGS_INVALID",
      fields: [{ pointer: "/keystores/0/auth/token", sentence: "must be printable text, on one line" }],
    });
    expect(stdout + stderr).not.toContain(SECRET);
  });

  it("are refused where they are no UTF-8: another password would be saved", () => {
    const host = privateHost();
    const latin1 = Buffer.from(
      settingsOf({ ...vault, auth: { method: "token", token: "pässword" } }),
      "latin1",
    );
    const { status, stderr } = host.run(["settings", "set"], latin1);
    expect([status, stderr.includes("must be UTF-8 text")]).toEqual([6, true]);
    expect(readdirSync(host.etc)).toEqual([]);
  });
});

describe("a TPM in settings on standard input", () => {
  it.each([
    { type: "tpm2", tcti: "cmd:touch /etc/luksmith/started" },
    { type: "tpm2", tcti: "cmd:/etc/luksmith/program" },
    { type: "tpm2", tcti: "device:/etc/luksmith/file" },
    { type: "systemd-creds", with: "tpm2", tpm2Device: "cmd:/etc/luksmith/program" },
  ])("starts no program and is no other file: $tcti$tpm2Device", (protector) => {
    const host = privateHost();
    const text = settingsOf({ name: "f", type: "file", directory: host.keys, protector });
    const property = "tcti" in protector ? "tcti" : "tpm2Device";
    for (const words of [["set"], ["set", "--dry-run"], ["test", "--stdin"]]) {
      const { status, stdout } = host.run(["settings", ...words, "--json"], text);
      expect(status).toBe(6);
      expect((JSON.parse(stdout) as ErrorOutput).error).toMatchObject({
        code: "SETTINGS_INVALID",
        fields: [{ pointer: `/keystores/0/protector/${property}` }],
      });
    }
    expect(readdirSync(host.etc)).toEqual([]);
  });
});

describe("settings test --stdin", () => {
  it("tries what is not saved, tells how it goes, and leaves nothing", () => {
    const host = privateHost();
    const file = { name: "local", type: "file", directory: host.keys };
    const args = ["settings", "test", "--stdin", "--json", "--progress"];
    const { status, stdout, stderr } = host.run(args, settingsOf(file, vault));
    const lines = stdout.trimEnd().split("\n");
    const events = lines.slice(0, -1).map((line) => JSON.parse(line) as object);
    expect(events).toContainEqual({ event: "begin", keystore: "hq" });
    expect(events).toContainEqual({ event: "passed", keystore: "local", check: "round trip" });
    const { ok, keystores } = JSON.parse(lines.at(-1) ?? "") as SettingsTestOutput;
    expect([status, ok, keystores.map((one) => one.ok)]).toEqual([1, false, [true, false]]);
    expect(keystores[1]?.problem?.code).toBe("KEYSTORE_UNAVAILABLE");
    expect(readdirSync(join(host.keys, ".."))).toEqual([]);
    expect(readdirSync(host.etc)).toEqual([]);
    expect(stderr).not.toContain("settings-test-");
    expect(stdout + stderr).not.toContain(SECRET);
  });

  it("says where a file keystore could not be made", () => {
    const host = privateHost();
    writeFileSync(join(host.keys, "../file"), "");
    const directory = join(host.keys, "../file/keys");
    const args = ["settings", "test", "--stdin", "--json"];
    const { status, stdout } = host.run(args, settingsOf({ name: "local", type: "file", directory }));
    const { keystores } = JSON.parse(stdout) as SettingsTestOutput;
    expect([status, keystores[0]?.ok, keystores[0]?.problem?.code]).toEqual([
      1,
      false,
      "KEYSTORE_WRITE_FAILED",
    ]);
  });

  it.each([["SIGTERM"], ["SIGINT"], ["SIGKILL"]])("leaves no secret behind after %s", (signal) => {
    // a server that takes the connection and never answers
    const inner = `
      exec 3<&0
      node -e 'require("net").createServer(() => {}).listen(1, "127.0.0.1")' & server=$!
      "$@" <&3 & test=$!
      until ls /run/luksmith/settings-test-*/hq-token-* >/dev/null 2>&1; do sleep 0.05; done
      kill -${signal.slice(3)} $test; wait $test; code=$?
      kill $server
      [ ${signal} != SIGKILL ] || printf '{"version":1}' | "$@"
      exit $code`;
    const [node = "", ...rest] = commandLine(["settings", "test", "--stdin"]);
    const { stderr, status } = spawnSync(
      "unshare",
      [
        ...["--mount", "--net", "--propagation", "private", "sh", "-c"],
        `ip link set lo up; mount -t tmpfs -o mode=0755 tmpfs /run; sh -c "$0" sh "$@"; code=$?; find /run -name 'settings-test-*' >&2; exit $code`,
        ...[inner, node, ...rest],
      ],
      { encoding: "utf8", input: settingsOf(vault) },
    );
    expect(status, stderr).toBe({ SIGTERM: 143, SIGINT: 130, SIGKILL: 137 }[signal]);
    expect(stderr).not.toContain("settings-test-");
  });

  it("takes --progress for --json alone", () => {
    const { status, stderr } = privateHost().run(["settings", "test", "--progress"], "");
    expect([status, stderr.includes("--progress is for --json")]).toEqual([2, true]);
  });
});
