import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A token (HSM) of its own in software, with one AES key. */
export interface SoftHsm extends Disposable {
  /** Path of its PKCS#11 module. */
  readonly module: string;
  readonly token: string;
  readonly key: string;
  readonly pin: string;
  /** What a process needs to find it. */
  readonly env: Readonly<Record<string, string>>;
  /** pkcs11-tool, logged in. */
  exec(...args: readonly string[]): string;
  /** Another token, without a key. */
  addToken(label: string): void;
  /** The token is gone: its files are. */
  remove(): void;
}

const MODULE = "/usr/lib/softhsm/libsofthsm2.so";

/** Needs the packages softhsm2 and opensc. */
export function makeSoftHsm(): SoftHsm {
  const dir = mkdtempSync(join(tmpdir(), "luksmith-softhsm-"));
  const tokens = join(dir, "tokens");
  mkdirSync(tokens);
  const configuration = join(dir, "softhsm2.conf");
  writeFileSync(
    configuration,
    `directories.tokendir = ${tokens}\nobjectstore.backend = file\nlog.level = ERROR\n`,
  );
  const env = { SOFTHSM2_CONF: configuration };
  const [token, key, pin] = ["luksmith token", "master key", "pin-483-secret"];
  const run = (program: string, args: readonly string[]) =>
    execFileSync(program, args, { env: { ...process.env, ...env }, encoding: "utf8", stdio: "pipe" });
  const addToken = (label: string) =>
    void run("softhsm2-util", [
      "--init-token",
      "--free",
      "--label",
      label,
      "--so-pin",
      "so-pin-1",
      "--pin",
      pin,
    ]);
  const exec = (...args: readonly string[]) =>
    run("pkcs11-tool", ["--module", MODULE, "--token-label", token, "--login", "--pin", pin, ...args]);
  addToken(token);
  exec("--keygen", "--key-type", "AES:32", "--label", key, "--id", "01", "--sensitive");
  return {
    module: MODULE,
    token,
    key,
    pin,
    env,
    exec,
    addToken,
    remove: () => rmSync(tokens, { recursive: true }),
    [Symbol.dispose]: () => rmSync(dir, { recursive: true, force: true }),
  };
}
