import { execa } from "execa";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Budget } from "../../../src/keystore/remote/budget.js";
import { HttpClient } from "../../../src/keystore/remote/http-client.js";
import type { TlsSettings } from "../../../src/generated/keystore-tls.js";
import type { Trap } from "../../fake/fake-vault.js";
import { makeAuthority } from "../../lab/certificates.js";

/** A server and its root token. */
export interface VaultServer extends AsyncDisposable {
  readonly url: string;
  readonly tls: TlsSettings;
  readonly namespace: string | undefined;
  readonly rootToken: string;
  /** For files of the tests; removed with the server. */
  readonly directory: string;
}

/** The fake in a process of its own, for what no test may do to a real server. */
export interface FakeVault extends VaultServer {
  readonly port: number;
  freeze(): void;
  thaw(): void;
  /** kill -9, and a new process on the same port with the same keys. */
  restart(): Promise<void>;
  trap(trap: Trap): Promise<void>;
  calm(): Promise<void>;
  /** The requests since the last call, `GET secret/data/…`. */
  requests(): Promise<string[]>;
}

const PROJECT = fileURLToPath(new URL("../../..", import.meta.url));
const PROGRAM = fileURLToPath(new URL("../../fake/fake-vault.ts", import.meta.url));

/** Removes a directory when its standard input ends: also when the test was killed, which the fake does not outlive. */
const GUARD = 'trap "" INT TERM; cat >/dev/null; sleep 0.1; rm -rf -- "$1"';

export async function startFakeVault({ tls = false }: { tls?: boolean } = {}): Promise<FakeVault> {
  const directory = mkdtempSync(join(tmpdir(), "luksmith-vault-"));
  const guard = execa("sh", ["-c", GUARD, "sh", directory], { stdin: "pipe" });
  const rootToken = `root-${randomUUID()}`;
  const authority = tls ? await makeAuthority(directory) : undefined;
  const pair = await authority?.server("server");
  const start = async (port: number) => {
    const files = pair === undefined ? [] : [pair.certificateFile, pair.keyFile];
    // dies with the test, also when it is stopped then
    const argv = ["--pdeathsig", "KILL", process.execPath, "--import", "tsx", PROGRAM];
    const child = execa(
      "setpriv",
      [...argv, join(directory, "state.json"), String(port), rootToken, ...files],
      // where node finds tsx
      { reject: false, cwd: PROJECT },
    );
    const [line] = (await Promise.race([
      once(child.stdout, "data"),
      child.then(({ stderr }) => [stderr]),
    ])) as [unknown];
    const listening = Number(String(line));
    if (!Number.isInteger(listening)) throw new Error(`the fake of Vault does not start: ${String(line)}`);
    return { child, port: listening };
  };
  let { child, port } = await start(0).catch(async (thrown: unknown) => {
    guard.stdin.end();
    await guard;
    throw thrown;
  });
  const url = `${tls ? "https" : "http"}://127.0.0.1:${port}`;
  const settings = authority === undefined ? {} : { caFile: authority.caFile };
  const client = new HttpClient("fake", url, settings);
  const order = async (name: string, body: object = {}) => {
    const request = {
      method: "POST",
      path: `/fake/${name}`,
      body: Buffer.from(JSON.stringify(body)),
    } as const;
    return (await client.send(request, new Budget(10_000))).body;
  };
  const kill = async () => {
    child.kill("SIGKILL");
    await child;
  };
  return {
    url,
    port,
    tls: settings,
    namespace: undefined,
    rootToken,
    directory,
    freeze() {
      child.kill("SIGSTOP");
    },
    thaw() {
      child.kill("SIGCONT");
    },
    async restart() {
      await kill();
      ({ child, port } = await start(port));
    },
    async trap(trap) {
      await order("trap", trap);
    },
    async calm() {
      await order("calm");
    },
    requests: async () => JSON.parse(String(await order("log"))) as string[],
    async [Symbol.asyncDispose]() {
      await kill();
      guard.stdin.end();
      await guard;
    },
  };
}

/**
 * The server that the environment names as for Vault's own command line: VAULT_ADDR, VAULT_TOKEN or `~/.vault-token`,
 * VAULT_CACERT, VAULT_NAMESPACE. The token must be allowed to make engines, policies, auth methods and namespaces; every
 * test makes its own and removes them.
 */
export function realVault(): VaultServer | undefined {
  const {
    VAULT_ADDR: url,
    VAULT_TOKEN: token,
    VAULT_CACERT: caFile,
    VAULT_NAMESPACE: namespace,
  } = process.env;
  if (url === undefined || url === "") return undefined;
  const directory = mkdtempSync(join(tmpdir(), "luksmith-vault-"));
  return {
    url,
    tls: caFile === undefined ? {} : { caFile },
    namespace,
    rootToken: token ?? readFileSync(join(homedir(), ".vault-token"), "utf8").trim(),
    directory,
    [Symbol.asyncDispose]() {
      rmSync(directory, { recursive: true });
      return Promise.resolve();
    },
  };
}
