import { Budget } from "../../../src/keystore/remote/budget.js";
import { HttpClient, type HttpRequest } from "../../../src/keystore/remote/http-client.js";
import type { VaultServer } from "./vault-server.js";

type Json = Readonly<Record<string, unknown>>;

/** An administrator who works through the server's own API, so that he does the same on the fake and on a real one. */
export class VaultAdmin {
  readonly #client: HttpClient;
  readonly #headers: Readonly<Record<string, string>>;

  constructor({ url, tls, rootToken }: VaultServer, namespace: string | undefined) {
    this.#client = new HttpClient("admin", url, tls);
    this.#headers = {
      "x-vault-token": rootToken,
      ...(namespace !== undefined && { "x-vault-namespace": namespace }),
    };
  }

  /** The JSON of the answer, `{}` where there is none. @throws what the server says, unless it is done or 404 */
  async ask(method: HttpRequest["method"], path: string, body?: Json): Promise<Json> {
    const bytes = body === undefined ? {} : { body: Buffer.from(JSON.stringify(body)) };
    const request = { method, path: `/v1/${path}`, headers: this.#headers, ...bytes };
    const answer = await this.#client.send(request, new Budget(20_000));
    const text = answer.body.toString();
    if (answer.status >= 300 && answer.status !== 404) {
      throw new Error(`${method} ${path}: ${answer.status} ${text}`);
    }
    return text === "" ? {} : (JSON.parse(text) as Json);
  }

  async data(method: HttpRequest["method"], path: string, body?: Json): Promise<Json> {
    return (await this.ask(method, path, body))["data"] as Json;
  }

  enable(mount: string, version: 1 | 2 = 2): Promise<Json> {
    return this.ask("POST", `sys/mounts/${mount}`, { type: "kv", options: { version: String(version) } });
  }

  policy(name: string, path: Readonly<Record<string, readonly string[]>>): Promise<Json> {
    const rules = Object.entries(path).map(([rule, capabilities]) => [rule, { capabilities }] as const);
    return this.ask("POST", `sys/policies/acl/${name}`, {
      policy: JSON.stringify({ path: Object.fromEntries(rules) }),
    });
  }

  /** What the documentation tells administrators to permit. */
  luksmithPolicy(name: string, mount: string, prefix = "luksmith"): Promise<Json> {
    return this.policy(name, {
      [`${mount}/data/${prefix}/*`]: ["create", "read", "update"],
      [`${mount}/metadata/${prefix}/*`]: ["list", "read", "delete"],
      [`${mount}/destroy/${prefix}/*`]: ["update"],
      [`${mount}/config`]: ["read"],
    });
  }

  async token(options: Json): Promise<string> {
    const { auth } = await this.ask("POST", "auth/token/create", options);
    return (auth as { client_token: string }).client_token;
  }
}
