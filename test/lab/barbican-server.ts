import { mkdir, mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { KeyPair } from "./certificates.js";
import { freePorts } from "./free-ports.js";
import { HOST, httpsArguments, startUwsgi, type UwsgiServer } from "./uwsgi-server.js";

/** Sections of an oslo.config file, and their options. */
export type Configuration = Readonly<Record<string, Readonly<Record<string, string>>>>;

export interface BarbicanOptions {
  /** An https port besides the http one. */
  readonly tls?: KeyPair & {
    /** Only clients with a certificate of this authority are served. */
    readonly clientCaFile?: string;
    /** The newest version of TLS; 1.3 without it. */
    readonly newest?: "1.2";
  };
  /** `none`: whoever names a project in X-Project-Id is believed. `keystone`: [keystone_authtoken] says where it is. */
  readonly authentication?: "none" | "keystone";
  /** Added to what barbican.conf has, option by option. */
  readonly configuration?: Configuration;
}

/** A Barbican of its own on loopback, one process on an SQLite file. */
export interface BarbicanServer extends UwsgiServer {
  /** Configuration and data, with room for files of a test; removed by `stop`. */
  readonly dir: string;
  /** `http://127.0.0.1:PORT`. */
  readonly url: string;
  /** Where `tls` was asked for. */
  readonly tls?: { readonly port: number; readonly url: string };
}

/** Needs the packages python3-barbican, uwsgi-core, uwsgi-plugin-python3. */
export async function startBarbican(options: BarbicanOptions = {}): Promise<BarbicanServer> {
  const dir = await mkdtemp(join(tmpdir(), "luksmith-barbican-"));
  const [port = 0, tlsPort = 0] = await freePorts(2);
  await writeConfiguration(dir, options);
  const server = await startUwsgi({
    dir,
    port,
    name: "Barbican",
    ready: "/",
    args: httpsArguments(tlsPort, options.tls),
    env: { OPENSSL_CONF: join(dir, "openssl.cnf") },
  });
  return Object.assign(server, {
    dir,
    url: `http://${HOST}:${port}`,
    ...(options.tls && { tls: { port: tlsPort, url: `https://${HOST}:${tlsPort}` } }),
  });
}

async function writeConfiguration(dir: string, options: BarbicanOptions): Promise<void> {
  const { authentication = "none", configuration = {} } = options;
  await mkdir(join(dir, ".barbican"));
  await writeFile(
    join(dir, ".barbican", "barbican.conf"),
    configurationText(merge(defaults(dir), configuration)),
  );
  await writeFile(join(dir, "paste.ini"), PASTE(authentication));
  await writeFile(join(dir, "openssl.cnf"), OPENSSL(options.tls?.newest ?? "1.3"));
  await writeFile(
    join(dir, "app.wsgi"),
    `from paste import deploy\napplication = deploy.loadapp("config:${dir}/paste.ini")\n`,
  );
}

const defaults = (dir: string): Configuration => ({
  DEFAULT: {
    sql_connection: `sqlite:///${dir}/barbican.sqlite`,
    db_auto_create: "true",
    // references have the address that the client has used
    host_href: "",
    use_stderr: "true",
    transport_url: "fake://",
  },
  queue: { enable: "false" },
  secretstore: { enabled_secretstore_plugins: "store_crypto" },
  crypto: { enabled_crypto_plugins: "simple_crypto" },
  simple_crypto_plugin: { kek: "'YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXoxMjM0NTY='" },
  keystone_notifications: { enable: "false" },
});

function merge(base: Configuration, added: Configuration): Configuration {
  const sections = new Set([...Object.keys(base), ...Object.keys(added)]);
  return Object.fromEntries([...sections].map((name) => [name, { ...base[name], ...added[name] }]));
}

function configurationText(configuration: Configuration): string {
  return Object.entries(configuration)
    .map(([section, options]) => [
      `[${section}]`,
      ...Object.entries(options).map(([key, value]) => `${key} = ${value}`),
    ])
    .flat()
    .join("\n");
}

/** uwsgi has no option for it. */
const OPENSSL = (newest: string): string => `openssl_conf = all
[all]
ssl_conf = contexts
[contexts]
system_default = context
[context]
MaxProtocol = TLSv${newest}
`;

/** Without Keystone there also is a door to the same keys that asks for a token of Keystone: `/guarded`. */
const PASTE = (authentication: "none" | "keystone"): string => `[composite:main]
use = egg:Paste#urlmap
/: version
/v1: ${authentication === "none" ? "open" : "guarded"}
/guarded: version
/guarded/v1: guarded
[pipeline:version]
pipeline = microversion versionapp
[pipeline:open]
pipeline = unauthenticated-context microversion apiapp
[pipeline:guarded]
pipeline = authtoken context microversion apiapp
[app:apiapp]
paste.app_factory = barbican.api.app:create_main_app
[app:versionapp]
paste.app_factory = barbican.api.app:create_version_app
[filter:authtoken]
paste.filter_factory = keystonemiddleware.auth_token:filter_factory
[filter:context]
paste.filter_factory = barbican.api.middleware.context:ContextMiddleware.factory
[filter:unauthenticated-context]
paste.filter_factory = barbican.api.middleware.context:UnauthenticatedContextMiddleware.factory
[filter:microversion]
paste.filter_factory = barbican.api.middleware.microversion:MicroversionMiddleware.factory
`;
