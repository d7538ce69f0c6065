/**
 * A FAKE of Vault and OpenBao, for tests: no server of theirs can be installed here. It is a process of its own, so
 * that it can be stopped and killed as a real one, and does what the documentation of the HTTP API says of KV version 2
 * and 1, tokens, AppRole, policies (in JSON, with a `*` at the end), namespaces and sealing. Where tests of a real
 * server find a difference, the fake is wrong.
 *
 *     node --import tsx fake-vault.ts STATE-FILE PORT ROOT-TOKEN [CERTIFICATE KEY]
 *
 * It prints its port. What it has answered to is in the state file. Below `/fake/` it takes orders that a server does
 * not know: `trap` says what happens to the next request that matches.
 */
import { randomUUID } from "node:crypto";
import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import {
  answered,
  askEngine,
  DONE,
  type Engine,
  exists,
  failed,
  makeEngine,
  NOTHING,
  type Reply,
  seconds,
} from "./fake-vault-kv.js";

/** What happens to the next `count` requests whose method and path match, instead of an answer or after it. */
export interface Trap {
  readonly method?: string;
  /** A part of the path below `/v1/`. */
  readonly path: string;
  /** `before` the request is done, or after. */
  readonly when: "before" | "after";
  /** The process kills itself, the connection is reset, or somebody else's answer comes. */
  readonly action: "die" | "reset" | Reply;
  readonly count?: number;
}

interface Token {
  readonly namespace: string;
  readonly policies: readonly string[];
  readonly renewable: boolean;
  /** Seconds; 0 for ever. */
  readonly ttl: number;
  readonly created: number;
  /** Milliseconds since 1970; 0 for never. */
  expires: number;
  /** Beyond this no renewal helps; 0 for never. */
  readonly limit: number;
}

interface Role {
  readonly id: string;
  readonly secrets: string[];
  readonly policies: readonly string[];
  readonly ttl: number;
  readonly maxTtl: number;
  readonly noDefault: boolean;
}

interface State {
  sealed: boolean;
  readonly namespaces: string[];
  /** By namespace and path: `team/secret/`, as all below. */
  readonly engines: Record<string, Engine>;
  readonly auths: Record<string, Record<string, Role>>;
  readonly policies: Record<string, Record<string, { capabilities: string[] }>>;
  readonly tokens: Record<string, Token>;
}

type Body = Readonly<Record<string, unknown>>;

interface Call {
  readonly method: string;
  readonly path: string;
  readonly list: boolean;
  /** Empty, or with a slash at its end. */
  readonly namespace: string;
  readonly token: string;
  readonly body: Body;
}

const [stateFile = "", port = "0", rootToken = "", certificate, key] = process.argv.slice(2);
const state: State = existsSync(stateFile)
  ? (JSON.parse(readFileSync(stateFile, "utf8")) as State)
  : { sealed: false, namespaces: [], engines: {}, auths: {}, policies: {}, tokens: {} };
state.tokens[rootToken] ??= makeToken("", ["root"], { ttl: 0, maxTtl: 0 });
let traps: Trap[] = [];
/** `METHOD path`, and `@INDEX` where the client asks for one; for tests that count. */
let log: string[] = [];

const tls = certificate === undefined ? {} : { cert: readFileSync(certificate), key: readFileSync(key!) };
const server = certificate === undefined ? createServer() : createTlsServer(tls);
server.on("request", (request: IncomingMessage, response: ServerResponse) => void serve(request, response));
server.listen(Number(port), "127.0.0.1", () => console.log((server.address() as AddressInfo).port));

async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  const url = new URL(request.url!, "http://fake");
  const body = parse(Buffer.concat(chunks));
  if (url.pathname.startsWith("/fake/")) {
    send(response, order(url.pathname.slice("/fake/".length), body));
    return;
  }
  const { "x-vault-token": token = "", "x-vault-namespace": namespace = "" } = request.headers;
  const call: Call = {
    method: request.method === "PUT" ? "POST" : request.method!,
    path: decodeURIComponent(url.pathname).replace(/^.*?\/v1\//, ""),
    list: url.searchParams.get("list") === "true",
    namespace: namespace === "" ? "" : `${String(namespace).replace(/^\/|\/$/g, "")}/`,
    token: String(token),
    body,
  };
  const index = request.headers["x-vault-index"];
  log.push(`${call.method} ${call.path}${index === undefined ? "" : ` @${String(index)}`}`);
  if (spring(call, "before", response)) return;
  const reply = answer(call);
  const next = `${stateFile}.new`;
  writeFileSync(next, JSON.stringify(state));
  renameSync(next, stateFile);
  if (!spring(call, "after", response)) send(response, reply);
}

function spring(call: Call, when: Trap["when"], response: ServerResponse): boolean {
  const trap = traps.find(
    ({ method = call.method, path, ...it }) =>
      it.when === when && method === call.method && call.path.includes(path),
  );
  if (trap === undefined) return false;
  const { action, count = 1 } = trap;
  traps = traps.flatMap((other) => (other !== trap ? other : count > 1 ? { ...trap, count: count - 1 } : []));
  if (action === "die") process.kill(process.pid, "SIGKILL");
  else if (action === "reset") response.socket?.resetAndDestroy();
  else send(response, action);
  return true;
}

function order(name: string, body: Body): Reply {
  switch (name) {
    case "trap":
      traps.push(body as unknown as Trap);
      return DONE;
    case "calm":
      traps = [];
      return DONE;
    case "log": {
      const said = log;
      log = [];
      return { status: 200, body: said };
    }
    default:
      return NOTHING;
  }
}

function answer(call: Call): Reply {
  const { method, path, body } = call;
  if (path === "sys/health") return health();
  if (path === "sys/unseal") {
    state.sealed = false;
    return { status: 200, body: { sealed: false } };
  }
  if (state.sealed) return failed(503, "Vault is sealed");
  const login = /^auth\/(.+)\/login$/.exec(path)?.[1];
  const roles = login === undefined ? undefined : state.auths[`${call.namespace}${login}`];
  if (method === "POST" && roles !== undefined) return logIn(call.namespace, roles, body);
  const token = validToken(call);
  if (token === undefined) {
    return failed(403, "2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n");
  }
  if (path.startsWith("sys/internal/ui/mounts/")) return describeMount(call, token);
  if (!isAllowed(call, token)) return failed(403, "1 error occurred:\n\t* permission denied\n\n");
  if (path.startsWith("auth/token/")) return tokens(call, token);
  if (path.startsWith("auth/")) return manageRole(call);
  if (path.startsWith("sys/")) return manage(call);
  const mount = mountOf(call);
  if (mount === undefined) {
    return failed(404, `no handler for route "${path}". route entry not found.`);
  }
  return askEngine(state.engines[mount]!, method, pathIn(call, mount), call.list, body);
}

function health(): Reply {
  const { sealed } = state;
  return {
    status: sealed ? 503 : 200,
    body: { initialized: true, sealed, standby: false, version: "0.0.0-fake" },
  };
}

function validToken({ token: text, namespace }: Call): Token | undefined {
  const token = Object.hasOwn(state.tokens, text) ? state.tokens[text] : undefined;
  if (token === undefined || !namespace.startsWith(token.namespace)) return undefined;
  return token.expires !== 0 && token.expires <= Date.now() ? undefined : token;
}

function isAllowed(call: Call, token: Token): boolean {
  if (token.policies.includes("root")) return true;
  const full = `${call.namespace}${call.path}`;
  if (token.policies.includes("default") && /auth\/token\/(lookup|renew|revoke)-self$/.test(full))
    return true;
  const rules = token.policies.flatMap((name) =>
    Object.entries(state.policies[`${token.namespace}${name}`] ?? {}),
  );
  const matching = rules
    .filter(([rule]) => matches(`${token.namespace}${rule}`, full))
    .sort(([a], [b]) => b.length - a.length);
  const [best] = matching;
  return best?.[1].capabilities.includes(capability(call)) ?? false;
}

function matches(rule: string, path: string): boolean {
  return rule.endsWith("*") ? path.startsWith(rule.slice(0, -1)) : path === rule;
}

function capability(call: Call): string {
  if (call.list) return "list";
  if (call.method === "GET") return "read";
  if (call.method === "DELETE") return "delete";
  const mount = mountOf(call);
  return mount !== undefined && exists(state.engines[mount]!, pathIn(call, mount)) ? "update" : "create";
}

function mountOf({ namespace, path }: Call): string | undefined {
  const mounts = Object.keys(state.engines).filter((mount) => `${namespace}${path}/`.startsWith(mount));
  return mounts.sort((a, b) => b.length - a.length)[0];
}

function pathIn({ namespace, path }: Call, mount: string): string {
  return `${namespace}${path}`.slice(mount.length);
}

/** The same 403 for a mount that does not exist and for one that the token has nothing to do with. */
function describeMount(call: Call, token: Token): Reply {
  const path = call.path.slice("sys/internal/ui/mounts/".length);
  const mount = mountOf({ ...call, path });
  const rules = token.policies.flatMap((name) =>
    Object.keys(state.policies[`${token.namespace}${name}`] ?? {}).map((rule) => `${token.namespace}${rule}`),
  );
  const isMine = token.policies.includes("root") || rules.some((rule) => rule.startsWith(mount ?? " "));
  if (mount === undefined || !isMine) {
    return failed(
      403,
      `preflight capability check returned 403, please ensure client's policies grant access to path "${path}/"`,
    );
  }
  return answered({
    type: "kv",
    path: mount.slice(call.namespace.length),
    options: { version: String(state.engines[mount]!.version) },
  });
}

function tokens({ path, body, namespace, token: text }: Call, token: Token): Reply {
  switch (path.slice("auth/token/".length)) {
    case "lookup-self":
      return answered({
        id: text,
        ttl: token.expires === 0 ? 0 : Math.ceil((token.expires - Date.now()) / 1000),
        creation_ttl: token.ttl,
        renewable: token.renewable,
        policies: token.policies,
      });
    case "renew-self":
      if (!token.renewable) return failed(400, "lease is not renewable");
      token.expires = Date.now() + 1000 * token.ttl;
      if (token.limit !== 0) token.expires = Math.min(token.expires, token.limit);
      return granted(text, token);
    case "revoke":
      // eslint-disable-next-line @typescript-eslint/no-dynamic-delete
      delete state.tokens[String(body["token"])];
      return DONE;
    case "create": {
      const policies = (body["policies"] ?? ["root"]) as string[];
      const all = body["no_default_policy"] === true ? policies : [...policies, "default"];
      const ttl = seconds(body["period"] ?? body["ttl"] ?? 2764800);
      const maxTtl = seconds(body["explicit_max_ttl"] ?? 0);
      const name = `s.${randomUUID()}`;
      state.tokens[name] = makeToken(namespace, all, { ttl, maxTtl, renewable: body["renewable"] !== false });
      return granted(name, state.tokens[name]);
    }
    default:
      return NOTHING;
  }
}

function granted(name: string, { expires, policies, renewable }: Token): Reply {
  const lease_duration = expires === 0 ? 0 : Math.round((expires - Date.now()) / 1000);
  const auth = {
    client_token: name,
    accessor: "fake",
    policies,
    token_policies: policies,
    lease_duration,
    renewable,
  };
  return answered(null, { auth });
}

function makeToken(
  namespace: string,
  policies: readonly string[],
  { ttl, maxTtl, renewable = true }: { ttl: number; maxTtl: number; renewable?: boolean },
): Token {
  const created = Date.now();
  const limit = maxTtl === 0 ? 0 : created + 1000 * maxTtl;
  const expires = ttl === 0 ? 0 : created + 1000 * (maxTtl === 0 ? ttl : Math.min(ttl, maxTtl));
  return { namespace, policies, renewable: renewable && ttl !== 0, ttl, created, expires, limit };
}

function logIn(namespace: string, roles: Readonly<Record<string, Role>>, body: Body): Reply {
  const role = Object.values(roles).find(({ id }) => id === body["role_id"]);
  const secretId = String(body["secret_id"]);
  // some releases say which secret id it was
  if (role === undefined) return failed(400, "invalid role or secret ID");
  if (!role.secrets.includes(secretId)) return failed(400, `invalid secret_id "${secretId}"`);
  const policies = role.noDefault ? role.policies : [...role.policies, "default"];
  const name = `s.${randomUUID()}`;
  state.tokens[name] = makeToken(namespace, policies, role);
  return granted(name, state.tokens[name]);
}

function manageRole({ namespace, path, method, body }: Call): Reply {
  const [, mount = "", name = "", part = ""] = /^auth\/(.+)\/role\/([^/]+)(?:\/(.+))?$/.exec(path) ?? [];
  const roles = state.auths[`${namespace}${mount}`];
  if (roles === undefined) return failed(404, `no handler for route "${path}". route entry not found.`);
  if (part === "" && method === "POST") {
    roles[name] = {
      id: randomUUID(),
      secrets: [],
      policies: (body["token_policies"] ?? []) as string[],
      ttl: seconds(body["token_ttl"] ?? 2764800),
      maxTtl: seconds(body["token_max_ttl"] ?? 0),
      noDefault: body["token_no_default_policy"] === true,
    };
    return DONE;
  }
  const role = roles[name];
  if (role === undefined) return NOTHING;
  switch (part) {
    case "role-id":
      return answered({ role_id: role.id });
    case "secret-id":
      role.secrets.push(randomUUID());
      return answered({ secret_id: role.secrets.at(-1), secret_id_ttl: 0, secret_id_num_uses: 0 });
    case "secret-id/destroy":
      role.secrets.splice(role.secrets.indexOf(String(body["secret_id"])), 1);
      return DONE;
    default:
      return NOTHING;
  }
}

function manage({ namespace, path, method, body }: Call): Reply {
  const [, kind, name = ""] =
    /^sys\/(mounts|auth|policies\/acl|namespaces|seal)(?:\/(.+))?$/.exec(path) ?? [];
  switch (`${method} ${kind}`) {
    case "POST mounts":
      state.engines[`${namespace}${name}/`] = makeEngine(
        (body["options"] as Body | undefined)?.["version"] === "2" ? 2 : 1,
      );
      return DONE;
    case "DELETE mounts":
      // eslint-disable-next-line @typescript-eslint/no-dynamic-delete
      delete state.engines[`${namespace}${name}/`];
      return DONE;
    case "POST auth":
      state.auths[`${namespace}${name}`] = {};
      return DONE;
    case "POST policies/acl":
      state.policies[`${namespace}${name}`] = (
        JSON.parse(String(body["policy"])) as { path: State["policies"][string] }
      ).path;
      return DONE;
    case "POST namespaces":
      state.namespaces.push(`${namespace}${name}/`);
      return answered({ path: `${name}/` });
    case "POST seal":
      state.sealed = true;
      return DONE;
    default:
      return NOTHING;
  }
}

function parse(bytes: Buffer): Body {
  if (bytes.length === 0) return {};
  // Go's decoder replaces halves of surrogate pairs
  return JSON.parse(bytes.toString(), (_, value: unknown) =>
    typeof value === "string" ? Buffer.from(value).toString() : value,
  ) as Body;
}

function send(response: ServerResponse, { status, body, headers = {} }: Reply): void {
  response.writeHead(status, { "content-type": "application/json", "cache-control": "no-store", ...headers });
  response.end(body === undefined ? undefined : goJson(body));
}

/** As Go's encoder: members sorted, HTML escaped, a newline at the end. */
function goJson(value: unknown): string {
  const text = JSON.stringify(value, (_, member: unknown) =>
    typeof member === "object" && member !== null && !Array.isArray(member)
      ? Object.fromEntries(Object.entries(member).sort(([a], [b]) => (a < b ? -1 : 1)))
      : member,
  );
  return `${text.replace(/[<>&\u2028\u2029]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`)}\n`;
}
