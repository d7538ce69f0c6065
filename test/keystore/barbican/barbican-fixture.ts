import { execa } from "execa";
import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { ExecaCommandRunner } from "../../../src/exec/command-runner.js";
import type { TlsSettings } from "../../../src/generated/keystore-tls.js";
import type { BarbicanAccess } from "../../../src/keystore/barbican/barbican-access.js";
import { BarbicanKeystore } from "../../../src/keystore/barbican/barbican-keystore.js";
import type { RemoteKeystoreFixture } from "../../contract/remote-keystore.contract.js";
import type { BarbicanServer } from "../../lab/barbican-server.js";
import { type FaultyLine, startFaultyLine } from "../../lab/faulty-line.js";

export interface KeystoreOptions {
  readonly url: string;
  readonly projectId: string;
  readonly tls?: TlsSettings;
  /** Seconds. */
  readonly timeout?: number;
  /** What Barbican's own middleware would find in a token: roles, user. */
  readonly identity?: Readonly<Record<string, string>>;
}

const RESOURCES = { runner: new ExecaCommandRunner() };

export function barbicanKeystore(options: KeystoreOptions): BarbicanKeystore {
  const { url, projectId, tls = {}, timeout = 30, identity } = options;
  const settings = { name: "cloud", type: "barbican", url, projectId, tls, timeout } as const;
  return identity === undefined
    ? new BarbicanKeystore(settings, RESOURCES)
    : new BarbicanKeystore(
        settings,
        RESOURCES,
        new NamedIdentity(url, { "x-project-id": projectId, ...identity }),
      );
}

/** Barbican without Keystone believes who one says to be. */
class NamedIdentity implements BarbicanAccess {
  constructor(
    private readonly url: string,
    private readonly named: Readonly<Record<string, string>>,
  ) {}

  endpoint(): Promise<string> {
    return Promise.resolve(this.url);
  }
  headers(): Promise<Readonly<Record<string, string>>> {
    return Promise.resolve(this.named);
  }
  renew(): boolean {
    return false;
  }
}

/** Barbican's answer to somebody else, or to an administrator. */
interface Answer {
  readonly status: number;
  readonly text: string;
  /** Whatever of it the answer to this request has. */
  readonly json: {
    readonly total: number;
    readonly secrets: readonly SecretJson[];
    readonly consumers: readonly object[];
    readonly metadata: Readonly<Record<string, string>>;
    readonly secret_ref: string;
  };
}

export interface SecretJson {
  readonly name: string;
  readonly secret_ref: string;
}

/** Asks Barbican without Luksmith: `PUT /v1/secrets/ID`. */
export type Ask = (
  request: string,
  body?: unknown,
  headers?: Readonly<Record<string, string>>,
) => Promise<Answer>;

export function askingAs({ url }: BarbicanServer, projectId: string): Ask {
  return async (request, body, headers) => {
    const [method = "", path = ""] = request.split(" ");
    const response = await fetch(`${url}${path}`, {
      method,
      headers: { "x-project-id": projectId, "content-type": "application/json", ...headers },
      ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
    });
    const text = await response.text();
    return { status: response.status, text, json: jsonOf(text) };
  };
}

function jsonOf(text: string): Answer["json"] {
  try {
    return JSON.parse(text) as Answer["json"];
  } catch {
    // a payload, or nothing
    return {} as Answer["json"];
  }
}

/** Changes what Barbican has in a way that it offers to nobody. */
export async function inDatabase({ dir }: BarbicanServer, sql: string): Promise<string> {
  const { stdout } = await execa("sqlite3", ["-bail", join(dir, "barbican.sqlite")], {
    input: `.timeout 5000\n${sql};`,
  });
  return stdout;
}

/** A project of its own on `server`, which is an empty keystore; over TLS if an authority is given. */
export function barbicanFixture(
  server: BarbicanServer,
  tls?: TlsSettings,
  projectId: string = randomUUID(),
): RemoteKeystoreFixture {
  const lines: FaultyLine[] = [];
  const port = tls === undefined ? server.port : server.tls!.port;
  const at = (there: number, path = "") =>
    `${tls === undefined ? "http" : "https"}://127.0.0.1:${there}${path}`;
  const make = (options: Partial<KeystoreOptions> = {}) =>
    barbicanKeystore({ url: at(port), projectId, ...(tls && { tls }), ...options });
  return {
    keystore: make(),
    another: () => make(),
    async over(timeout) {
      const line = await startFaultyLine({ port });
      lines.push(line);
      return { keystore: make({ url: at(line.port), timeout }), line };
    },
    spoil: tls === undefined ? spoilt : spoiltRecord,
    // the same keys behind Barbican's Keystone middleware, which sees no token
    withWrongCredentials: () => make({ url: at(port, "/guarded") }),
    // an auditor sees that secrets are there, and neither what they hold nor their list
    ofForbiddenUser: () => make({ identity: { "x-roles": "audit" } }),
    restart: () => server.restart(),
    freeze: () => server.freeze(),
    thaw: () => server.thaw(),
    async [Symbol.asyncDispose]() {
      for (const line of lines) await line[Symbol.asyncDispose]();
    },
  };
}

/** The body's JSON is none any more; the length stays. */
export function spoilt(answer: Buffer): Buffer {
  return Buffer.from(answer.toString("latin1").replaceAll('": ', '", '), "latin1");
}

/** A record of TLS whose authentication tag is wrong. */
function spoiltRecord(answer: Buffer): Buffer {
  const spoilt = Buffer.from(answer);
  spoilt.writeUInt8(spoilt.readUInt8(spoilt.length - 1) ^ 1, spoilt.length - 1);
  return spoilt;
}
