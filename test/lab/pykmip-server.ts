import { execa, execaSync } from "execa";
import { once } from "node:events";
import { mkdir, mkdtemp, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { type Authority, makeAuthority } from "./certificates.js";
import { freePort } from "./free-ports.js";

/** A PyKMIP server of its own, on a loopback port. Whoever has a client certificate owns what he stores. */
export interface PyKmipServer extends AsyncDisposable {
  readonly port: number;
  /** Has signed the server's certificate, and signs those that the server takes. */
  readonly authority: Authority;
  /** Room for files of a test; goes with the server. */
  readonly directory: string;
  /** Kills the server, and starts it again on the same port with the same database. */
  restart(): Promise<void>;
  /** SIGSTOP and SIGCONT. */
  freeze(): void;
  thaw(): void;
  /**
   * From now on everybody sees that the objects which there are exist, and only their owners see what they are. Waits
   * for the policy that says so.
   */
  showObjects(): void;
}

const HOST = "127.0.0.1";
const HOLDER = fileURLToPath(new URL("pykmip-server.sh", import.meta.url));
const ENVIRONMENT = { LC_ALL: "C", PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" };
/** Milliseconds in which the server listens, on a busy machine. */
const PATIENCE = 30_000;
const OPERATIONS = [
  ...["GET", "GET_ATTRIBUTES", "GET_ATTRIBUTE_LIST", "MODIFY_ATTRIBUTE", "DELETE_ATTRIBUTE"],
  ...["SET_ATTRIBUTE", "ACTIVATE", "REVOKE", "DESTROY"],
];
const VISIBLE = {
  LOCATE: "ALLOW_ALL",
  ...Object.fromEntries(OPERATIONS.map((operation) => [operation, "ALLOW_OWNER"])),
};
// the server reads policies about a second after it listens, in their order, and notes each before it has it
const POLICIES = {
  visible: { preset: { SECRET_DATA: VISIBLE, SYMMETRIC_KEY: VISIBLE } },
  last: { preset: { SECRET_DATA: VISIBLE } },
};
const SHOW_WHEN_LOADED = `import sys, time
database, log, starts = sys.argv[1:]
end = time.monotonic() + 30
while open(log).read().count("Loading policy: last") < int(starts):
    if time.monotonic() > end: sys.exit("the KMIP server does not read its policies")
    time.sleep(0.05)
import sqlite3
db = sqlite3.connect(database, timeout=10)
db.execute("UPDATE managed_objects SET operation_policy_name='visible'")
db.commit()
`;

/** Needs root, and the packages openssl and python3-pykmip. */
export async function startPyKmipServer(): Promise<PyKmipServer> {
  const directory = await mkdtemp(join(tmpdir(), "luksmith-kmip-"));
  const authority = await makeAuthority(directory);
  const { certificateFile, keyFile } = await authority.server("server");
  const port = await freePort();
  await mkdir(join(directory, "policies"));
  await writeFile(join(directory, "policies", "visible.json"), JSON.stringify(POLICIES));
  // no debugging output: it would hold the passphrases
  await writeFile(
    join(directory, "server.conf"),
    `[server]
hostname=${HOST}
port=${port}
certificate_path=${certificateFile}
key_path=${keyFile}
ca_path=${authority.caFile}
auth_suite=TLS1.2
policy_path=${directory}/policies
enable_tls_client_auth=True
logging_level=INFO
database_path=${directory}/database
`,
  );
  const holder = execa("sh", [HOLDER, directory], {
    env: ENVIRONMENT,
    extendEnv: false,
    // not in our process group, so that an interrupt of the terminal does not reach it before it has cleaned up
    detached: true,
    cleanup: false,
    reject: false,
    stdin: "pipe",
  });
  const lines = createInterface(holder.stdout)[Symbol.asyncIterator]();
  let pid = 0;
  let starts = 0;
  const listening = async () => {
    starts++;
    pid = Number((await lines.next()).value);
    for (const start = performance.now(); performance.now() - start < PATIENCE;) {
      if (await answers(port)) return;
      if (!isAlive(pid)) break;
      await setTimeout(30);
    }
    holder.stdin.end();
    throw new Error(`the KMIP server does not listen: ${(await holder).stderr}`);
  };
  await listening();
  return {
    port,
    authority,
    directory,
    async restart() {
      holder.stdin.write("again\n");
      await listening();
    },
    freeze() {
      process.kill(pid, "SIGSTOP");
    },
    thaw() {
      process.kill(pid, "SIGCONT");
    },
    showObjects() {
      const files = [join(directory, "database"), join(directory, "server.log")];
      execaSync("/usr/bin/python3", ["-c", SHOW_WHEN_LOADED, ...files, `${starts}`], { stdin: "ignore" });
    },
    async [Symbol.asyncDispose]() {
      holder.stdin.end();
      await holder;
    },
  };
}

function isAlive(pid: number): boolean {
  try {
    return pid > 0 && process.kill(pid, 0);
  } catch {
    return false;
  }
}

async function answers(port: number): Promise<boolean> {
  const socket = connect(port, HOST);
  try {
    await once(socket, "connect");
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
