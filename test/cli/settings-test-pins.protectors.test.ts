import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import type { SettingsTestOutput } from "../../src/generated/settings-test.js";
import { temporaryDirectory } from "../fs/tree.js";
import { makeSoftHsm } from "../lab/softhsm.js";
import { commandLine } from "./luksmith.js";

/** `settings test --stdin` once for each PIN, one after the other, on a host whose token is the test's. */
function testWith(pins: readonly string[]) {
  const hsm = makeSoftHsm();
  onTestFinished(() => hsm[Symbol.dispose]());
  const { module, token, key } = hsm;
  const settings = pins.map((pin) => {
    const protector = { type: "pkcs11", module, token, key, pin: pin === "right" ? hsm.pin : pin };
    const directory = join(temporaryDirectory(), "keys");
    return JSON.stringify({
      version: 1,
      keystores: [{ name: "local", type: "file", directory, protector }],
    });
  });
  const script = `
    mount -t tmpfs -o mode=0755 tmpfs /mnt && mkdir /mnt/up /mnt/work
    mount -t overlay -o lowerdir=/etc,upperdir=/mnt/up,workdir=/mnt/work overlay /etc
    mkdir -p /etc/softhsm && cp "$1" /etc/softhsm/softhsm2.conf
    mount -t tmpfs -o mode=0755 tmpfs /run
    shift
    while read -r line; do printf %s "$line" | "$@"; done
    grep -rs wrong-pin /run/luksmith >&2`;
  const { stdout, stderr } = spawnSync(
    "unshare",
    [
      ...["--mount", "--propagation", "private", "sh", "-c", script, "sh", hsm.env["SOFTHSM2_CONF"] ?? ""],
      ...commandLine(["settings", "test", "--stdin", "--json"]),
    ],
    { encoding: "utf8", input: `${settings.join("\n")}\n` },
  );
  const outputs = stdout.split(/^(?=\{)/m).map((text) => JSON.parse(text) as SettingsTestOutput);
  return { stderr, problems: outputs.map(({ keystores: [one] }) => one?.problem) };
}

describe("settings test --stdin with a token", () => {
  it("gives it a wrong PIN once, however often it is asked, and the right one each time", () => {
    const { problems, stderr } = testWith(["wrong-pin", "wrong-pin", "right", "wrong-pin", "right"]);
    const why = (text: string) => ({
      code: "PIN_REJECTED",
      why: expect.stringContaining(text) as string,
    });
    const before = why("the token rejected it before");
    expect(problems, stderr).toEqual([
      expect.objectContaining(why("CKR_PIN_INCORRECT")),
      expect.objectContaining(before),
      undefined,
      expect.objectContaining(before),
      undefined,
    ]);
    expect(stderr).not.toContain("wrong-pin");
  });
});
