import { execa } from "execa";
import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { copyFile, mkdir, mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { KeyPair } from "./certificates.js";
import { KeystoneAdmin } from "./keystone-admin.js";
import { freePorts } from "./free-ports.js";
import { HOST, httpsArguments, startUwsgi, type UwsgiServer } from "./uwsgi-server.js";

export interface KeystoneOptions {
  /** A free one without it. */
  readonly port?: number;
  /** Address in the service catalog, such as `http://127.0.0.1:5000/v3`; without it the server's own. */
  readonly publicUrl?: string;
  /** Seconds that a token lives. */
  readonly expiration?: number;
  /** An https port besides the http one. */
  readonly tls?: KeyPair;
}

/** A Keystone of its own on loopback, one process on an SQLite file. */
export interface KeystoneServer extends UwsgiServer {
  /** `http://127.0.0.1:PORT/v3`. */
  readonly url: string;
  /** `https://127.0.0.1:PORT/v3`, where `tls` was asked for. */
  readonly tlsUrl: string;
  /** As the user admin in the project admin. */
  readonly admin: KeystoneAdmin;
}

const ENVIRONMENT = { LC_ALL: "C.UTF-8", PATH: "/usr/sbin:/usr/bin:/sbin:/bin" };
const REGION = "regionOne";
/** Of servers that are on loopback for as long as a test runs. */
const PASSWORD = "of the administrator";
/** A part of the name of what is kept: what makes it has changed if this does. */
const RECIPE = 1;
const CACHE = fileURLToPath(new URL("../../node_modules/.cache/lab", import.meta.url));

/**
 * Needs the packages python3-keystone, sqlite3, uwsgi-core, uwsgi-plugin-python3. Takes about 3 seconds, and as many
 * more the first time on a machine: the database as it is after the installation is kept.
 */
export async function startKeystone({
  port: wanted,
  publicUrl,
  expiration = 3600,
  tls,
}: KeystoneOptions = {}): Promise<KeystoneServer> {
  const dir = await mkdtemp(join(tmpdir(), "luksmith-keystone-"));
  const [free = 0, tlsPort = 0] = await freePorts(2);
  const port = wanted ?? free;
  const url = `http://${HOST}:${port}/v3`;
  await writeConfiguration(dir, expiration);
  await copyFile(await preparedDatabase(), databaseIn(dir));
  const server = await startUwsgi({
    dir,
    port,
    name: "Keystone",
    ready: "/v3",
    args: httpsArguments(tlsPort, tls),
  });
  const admin = new KeystoneAdmin(url, { user: "admin", password: PASSWORD, project: "admin" });
  // what looks Keystone itself up, as Barbican does, takes one of these
  for (const face of ["public", "internal"]) {
    await admin.endpoint("identity", { region: REGION, interface: face, url: publicUrl ?? url });
  }
  return Object.assign(server, { url, tlsUrl: `https://${HOST}:${tlsPort}/v3`, admin });
}

async function writeConfiguration(dir: string, expiration: number): Promise<void> {
  await mkdir(join(dir, ".keystone"));
  await writeFile(join(dir, ".keystone", "keystone.conf"), configuration(dir, expiration));
  await writeFile(
    join(dir, "app.wsgi"),
    "from keystone.server.wsgi import initialize_public_application\n" +
      "application = initialize_public_application()\n",
  );
  // as keystone-manage fernet_setup and credential_setup make them: 32 bytes, the one with the highest number signs
  for (const repository of ["fernet", "credential"]) {
    await mkdir(join(dir, repository), { mode: 0o700 });
    for (const number of ["0", "1"]) {
      const key = randomBytes(32).toString("base64").replaceAll("+", "-").replaceAll("/", "_");
      await writeFile(join(dir, repository, number), key, { mode: 0o600 });
    }
  }
}

const configuration = (dir: string, expiration: number): string => `[DEFAULT]
use_stderr = true
transport_url = fake://
[database]
connection = sqlite:///${dir}/keystone.sqlite
[token]
provider = fernet
expiration = ${expiration}
[fernet_tokens]
key_repository = ${dir}/fernet
[fernet_receipts]
key_repository = ${dir}/fernet
[credential]
key_repository = ${dir}/credential
[cache]
# without it the validation of a token takes a second
enabled = true
backend = dogpile.cache.memory
[identity]
password_hash_rounds = 4
`;

const databaseIn = (dir: string): string => join(dir, "keystone.sqlite");

/** Path of a database with the tables, the roles and the administrator. */
async function preparedDatabase(): Promise<string> {
  const query = ["--show", "--showformat=${Version}", "python3-keystone"];
  const { stdout: version } = await execa("dpkg-query", query);
  const path = join(CACHE, `keystone-${version}-${RECIPE}.sqlite`);
  if (existsSync(path)) return path;
  const dir = await mkdtemp(join(tmpdir(), "luksmith-keystone-"));
  try {
    await prepareDatabase(dir);
    await mkdir(CACHE, { recursive: true });
    // several may do this at once: each file is whole, and the last one stays
    const draft = `${path}.${process.pid}`;
    await copyFile(databaseIn(dir), draft);
    await rename(draft, path);
    return path;
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

async function prepareDatabase(dir: string): Promise<void> {
  await writeConfiguration(dir, 60);
  const run = (file: string, args: readonly string[]) =>
    execa(file, args, {
      env: { ...ENVIRONMENT, HOME: dir, OS_BOOTSTRAP_PASSWORD: PASSWORD },
      extendEnv: false,
      stdin: "ignore",
    });
  await run("keystone-manage", ["db_sync"]);
  await run("keystone-manage", ["bootstrap", "--bootstrap-region-id", REGION]);
  // with SQLite's default one who reads keeps others from writing; what is in the file is all there is by now
  await run("sqlite3", [databaseIn(dir), "PRAGMA journal_mode=WAL"]);
}
