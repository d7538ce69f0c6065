/** What KV engines keep, as the server's state file has it. */
export interface Engine {
  readonly version: 1 | 2;
  readonly config: { max_versions: number; cas_required: boolean; delete_version_after: number };
  readonly secrets: Record<string, Metadata>;
  /** Of version 1: whatever was written. */
  readonly plain: Record<string, unknown>;
}

interface Metadata {
  current: number;
  oldest: number;
  versions: Record<number, Version>;
  custom_metadata: unknown;
  /** Seconds. */
  delete_version_after?: number;
}

interface Version {
  readonly created: string;
  deletion: string;
  destroyed: boolean;
  data: unknown;
}

export interface Reply {
  readonly status: number;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

type Body = Readonly<Record<string, unknown>>;

export function makeEngine(version: 1 | 2): Engine {
  return {
    version,
    config: { max_versions: 0, cas_required: false, delete_version_after: 0 },
    secrets: {},
    plain: {},
  };
}

export const NOTHING: Reply = { status: 404, body: { errors: [] } };
export const DONE: Reply = { status: 204 };

export function failed(status: number, ...errors: string[]): Reply {
  return { status, body: { errors } };
}

export function answered(data: unknown, more: object = {}): Reply {
  return {
    status: 200,
    body: {
      request_id: "00000000-0000-0000-0000-000000000000",
      lease_id: "",
      renewable: false,
      lease_duration: 0,
      data,
      wrap_info: null,
      warnings: null,
      auth: null,
      ...more,
    },
  };
}

/** Whether a write would make something new: the policy must have `create` then, else `update`. */
export function exists(engine: Engine, path: string): boolean {
  const [part, name] = split(path);
  if (engine.version === 1) return path in engine.plain;
  // the other parts change what is there, and ask nobody whether it is
  return (part !== "data" && part !== "metadata") || name in engine.secrets;
}

/** One request to an engine, whose policies have been checked. */
export function askEngine(engine: Engine, method: string, path: string, list: boolean, body: Body): Reply {
  if (engine.version === 1) return askPlain(engine, method, path, list, body);
  const [part, name] = split(path);
  switch (`${list ? "LIST" : method} ${part}`) {
    case "POST config":
      Object.assign(engine.config, {
        ...body,
        ...("delete_version_after" in body && {
          delete_version_after: seconds(body["delete_version_after"]),
        }),
      });
      return DONE;
    case "GET config":
      return answered({
        ...engine.config,
        delete_version_after: duration(engine.config.delete_version_after),
      });
    case "GET data":
      return read(engine, name);
    case "POST data":
      return write(engine, name, body);
    case "DELETE data":
      return change(engine, name, [engine.secrets[name]?.current ?? 0], (version) => {
        version.deletion ||= now();
      });
    case "POST delete":
      return change(engine, name, body["versions"], (version) => (version.deletion ||= now()));
    case "POST undelete":
      return change(engine, name, body["versions"], (version) => {
        if (!version.destroyed) version.deletion = deletionOf(engine, engine.secrets[name]);
      });
    case "POST destroy":
      return change(engine, name, body["versions"], (version) => {
        version.destroyed = true;
        version.data = undefined;
      });
    case "POST metadata":
      engine.secrets[name]!.delete_version_after = seconds(body["delete_version_after"]);
      return DONE;
    case "GET metadata":
      return readMetadata(engine, name);
    case "DELETE metadata":
      // eslint-disable-next-line @typescript-eslint/no-dynamic-delete
      delete engine.secrets[name];
      return DONE;
    case "LIST metadata":
      return listed(Object.keys(engine.secrets), name);
    default:
      return failed(405, "unsupported operation");
  }
}

function read(engine: Engine, name: string): Reply {
  const metadata = engine.secrets[name];
  const version = metadata?.versions[metadata.current];
  if (metadata === undefined || version === undefined) return NOTHING;
  const about = describe(metadata, metadata.current);
  const isGone = version.destroyed || (version.deletion !== "" && Date.parse(version.deletion) <= Date.now());
  // this 404 has a body like an answer's, and no errors
  if (isGone) return { ...answered({ data: null, metadata: about }), status: 404 };
  return answered({ data: version.data, metadata: about });
}

function write(engine: Engine, name: string, body: Body): Reply {
  const { data, options } = body;
  if (name === "") return failed(400, "missing path");
  if (typeof data !== "object" || data === null) return failed(400, "no data provided");
  const metadata = engine.secrets[name] ?? { current: 0, oldest: 0, versions: {}, custom_metadata: null };
  const cas = (options as Body | undefined)?.["cas"];
  if (cas !== undefined && Number(cas) !== metadata.current) {
    return failed(400, "check-and-set parameter did not match the current version");
  }
  if (cas === undefined && engine.config.cas_required) {
    return failed(400, "check-and-set parameter required for this call");
  }
  const deletion = deletionOf(engine, metadata);
  metadata.current++;
  metadata.versions[metadata.current] = { created: now(), deletion, destroyed: false, data };
  const kept = engine.config.max_versions || 10;
  for (const old of Object.keys(metadata.versions).map(Number)) {
    // eslint-disable-next-line @typescript-eslint/no-dynamic-delete
    if (old <= metadata.current - kept) delete metadata.versions[old];
  }
  metadata.oldest = Math.min(...Object.keys(metadata.versions).map(Number));
  engine.secrets[name] = metadata;
  return answered(describe(metadata, metadata.current));
}

function change(engine: Engine, name: string, versions: unknown, apply: (version: Version) => void): Reply {
  const metadata = engine.secrets[name];
  if (!Array.isArray(versions) || versions.length === 0) return failed(400, "no version number provided");
  for (const number of versions.map(Number)) {
    const version = metadata?.versions[number];
    if (version !== undefined) apply(version);
  }
  return DONE;
}

function readMetadata(engine: Engine, name: string): Reply {
  const metadata = engine.secrets[name];
  if (metadata === undefined) return NOTHING;
  const numbers = Object.keys(metadata.versions).map(Number);
  const versions = Object.fromEntries(numbers.map((number) => [number, describe(metadata, number)]));
  const { current, oldest, custom_metadata, delete_version_after = 0 } = metadata;
  return answered({
    versions,
    current_version: current,
    oldest_version: oldest,
    custom_metadata,
    delete_version_after: duration(delete_version_after),
  });
}

function describe({ versions, custom_metadata }: Metadata, number: number): object {
  const { created, deletion, destroyed } = versions[number]!;
  return { version: number, created_time: created, deletion_time: deletion, destroyed, custom_metadata };
}

function askPlain(engine: Engine, method: string, path: string, list: boolean, body: Body): Reply {
  if (list) return listed(Object.keys(engine.plain), path);
  switch (method) {
    case "POST":
      engine.plain[path] = body;
      return DONE;
    case "GET":
      return path in engine.plain ? answered(engine.plain[path]) : NOTHING;
    case "DELETE":
      // eslint-disable-next-line @typescript-eslint/no-dynamic-delete
      delete engine.plain[path];
      return DONE;
    default:
      return failed(405, "unsupported operation");
  }
}

/** Folders once, with a slash at their end. */
function listed(names: readonly string[], folder: string): Reply {
  const prefix = folder === "" || folder.endsWith("/") ? folder : `${folder}/`;
  const below = names.filter((name) => name.startsWith(prefix)).map((name) => name.slice(prefix.length));
  const keys = [...new Set(below.map((name) => name.replace(/\/.*$/, "/")))].sort();
  return keys.length === 0 ? NOTHING : answered({ keys });
}

function split(path: string): [part: string, name: string] {
  const at = path.indexOf("/");
  return at === -1 ? [path, ""] : [path.slice(0, at), path.slice(at + 1)];
}

export function seconds(value: unknown): number {
  const [, number = "0", unit = "s"] = /^(-?\d+)([smh]?)$/.exec(String(value)) ?? [];
  return Number(number) * ({ s: 1, m: 60, h: 3600 }[unit] ?? 1);
}

/** As Go prints it, but for the larger units. */
function duration(seconds: number): string {
  return seconds < 0 ? "-1ns" : `${seconds}s`;
}

/** The smaller one of the engine's time and the secret's; a negative one of the engine switches both off. */
function deletionOf({ config }: Engine, metadata: Metadata | undefined): string {
  const times = [config.delete_version_after, metadata?.delete_version_after ?? 0].filter((time) => time > 0);
  if (config.delete_version_after < 0 || times.length === 0) return "";
  return new Date(Date.now() + 1000 * Math.min(...times)).toISOString();
}

function now(): string {
  return new Date().toISOString();
}
