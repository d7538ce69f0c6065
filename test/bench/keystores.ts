import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { ExecaCommandRunner } from "../../src/exec/command-runner.js";
import { FileKeystore } from "../../src/keystore/file/file-keystore.js";
import { BarbicanKeystore } from "../../src/keystore/barbican/barbican-keystore.js";
import { keyUuidOf } from "../../src/keystore/key-record.js";
import type { Keystore } from "../../src/keystore/keystore.js";
import { KmipKeystore } from "../../src/keystore/kmip/kmip-keystore.js";
import { sampleRecord, storeText } from "../keystore/sample-key.js";
import { vaultFixture } from "../keystore/vault/vault.fixture.js";
import { startFakeVault } from "../keystore/vault/vault-server.js";
import { startBarbican } from "../lab/barbican-server.js";
import { startFaultyLine } from "../lab/faulty-line.js";
import { startPyKmipServer } from "../lab/pykmip-server.js";
import { type Action, interleave, perRound } from "./compare.js";
import { type Program, runProgram } from "./program.js";
import { type Findings, type Row, row } from "./row.js";
import type { Stock } from "./stock.js";

const EFFORT = { rounds: 9, seconds: 20 };
/** Milliseconds that the line takes each way: a key manager in another building. */
const DELAY = 10;
const KEYS = 16;
/** Seconds; nothing here may run into it. */
const TIMEOUT = 30;
const TARGET = 1.2;
const PASSPHRASE = "x".repeat(88);

/** A keystore that a process has just made, as each hook does: it has no connection and is not authenticated. */
interface Subject {
  readonly name: string;
  readonly fresh: () => Keystore;
}

/** What a guest's start waits for: its passphrases, from servers of which each answer takes 20 ms longer. */
export async function benchKeystores(stock: Stock): Promise<Findings> {
  await using servers = new AsyncDisposables();
  const barbican = servers.use(await startBarbican());
  const [near, project] = [barbican.url, randomUUID()];
  const barbicanAt = (url: string) =>
    new BarbicanKeystore(
      { name: "barbican", type: "barbican", url, projectId: project, tls: {}, timeout: TIMEOUT },
      { runner: new ExecaCommandRunner() },
    );
  const far = servers.use(await startFaultyLine(barbican));
  far.weather = { kind: "slow", milliseconds: DELAY };

  const subjects: Subject[] = [
    { name: "barbican", fresh: () => barbicanAt(`http://127.0.0.1:${far.port}`) },
    await kmip(servers),
    await vault(servers),
  ];
  const rows: Row[] = [];
  for (const subject of subjects) rows.push(await batched(subject, 2 * DELAY, TARGET));
  rows.push(await batched(file(stock), 0));
  rows.push(await againstCurl(barbicanAt(near), near, project));
  return { rows, memory: [] };
}

function file(stock: Stock): Subject {
  const directory = join(stock.places.volumes, "keystore");
  const settings = { name: "file", type: "file", directory, protector: { type: "file" } } as const;
  return { name: "file", fresh: () => new FileKeystore(settings, new ExecaCommandRunner()) };
}

async function kmip(servers: AsyncDisposables): Promise<Subject> {
  const server = servers.use(await startPyKmipServer());
  const client = await server.authority.client("bench", "bench");
  const line = servers.use(await startFaultyLine(server));
  line.weather = { kind: "slow", milliseconds: DELAY };
  const tls = { caFile: server.authority.caFile, ...client };
  const fresh = () =>
    new KmipKeystore({
      ...{ name: "kmip", type: "kmip", host: "127.0.0.1", port: line.port, group: "bench", tls },
      ...{ version: "negotiated", object: "secret-data", timeout: TIMEOUT },
    });
  return { name: "kmip", fresh };
}

async function vault(servers: AsyncDisposables): Promise<Subject> {
  const server = servers.use(await startFakeVault());
  const fixture = servers.use(await vaultFixture(server));
  const line = servers.use(await startFaultyLine(server));
  line.weather = { kind: "slow", milliseconds: DELAY };
  return { name: "vault (a fake)", fresh: () => fixture.make({ url: `http://127.0.0.1:${line.port}` }) };
}

/** @param roundTrip milliseconds that an answer takes longer than on this machine */
async function batched({ name, fresh }: Subject, roundTrip: number, target?: number): Promise<Row> {
  const records = Array.from({ length: KEYS }, () => sampleRecord());
  const filler = fresh();
  for (const record of records) await storeText(filler, record, PASSPHRASE);
  const fetch = (count: number): Action => ({
    run: async () => {
      const keystore = fresh();
      await Promise.all(records.slice(0, count).map((record) => fetchOne(keystore, record)));
    },
  });
  const samples = await interleave({ one: fetch(1), all: fetch(KEYS) }, EFFORT);
  const more = roundTrip === 0 ? "" : `, and one round trip of ${roundTrip} ms`;
  return row(
    { name: `${KEYS} keys from ${name}`, milliseconds: samples.all },
    { name: `1 key from ${name}${more}`, milliseconds: samples.one.map((time) => time + roundTrip) },
    target,
  );
}

async function fetchOne(keystore: Keystore, record: Parameters<typeof keyUuidOf>[0]): Promise<void> {
  const key = await keystore.fetch(keyUuidOf(record));
  if (key === undefined) throw new Error(`${keystore.name} has lost a key`);
  key.passphrase.dispose();
}

/** The requests of a fetch, made by curl over one connection, less what starting curl costs in any case. */
async function againstCurl(keystore: BarbicanKeystore, url: string, project: string) {
  const record = sampleRecord();
  await storeText(keystore, record, PASSPHRASE);
  const [secret = ""] = await secretsOf(url, project);
  const curl = (...urls: readonly string[]): Program => ({
    argv: ["/usr/bin/curl", "--silent", "--fail", "--header", `X-Project-Id: ${project}`, ...urls],
  });
  const samples = await interleave(
    {
      ours: { run: () => fetchOne(keystore, record) },
      curl: {
        run: () => runProgram(curl(`${url}/v1/secrets?limit=1`, `${secret}/metadata`, `${secret}/payload`)),
      },
      start: { run: () => runProgram(curl("--version")) },
    },
    { rounds: 25, seconds: 15 },
  );
  return row(
    { name: "1 key from barbican, no delay, connected", milliseconds: samples.ours },
    {
      name: "curl: the same three requests (less curl --version)",
      milliseconds: perRound(samples.curl, samples.start, (all, start) => all - start),
    },
  );
}

/** The references of the secrets that the project has. */
async function secretsOf(url: string, project: string): Promise<string[]> {
  const answer = await fetch(`${url}/v1/secrets?limit=1`, { headers: { "X-Project-Id": project } });
  const { secrets } = (await answer.json()) as { secrets: { secret_ref: string }[] };
  return secrets.map(({ secret_ref }) => secret_ref);
}

/** Disposes of what it was given, the last first. Node 20 has no AsyncDisposableStack. */
class AsyncDisposables implements AsyncDisposable {
  readonly #things: AsyncDisposable[] = [];

  use<T extends AsyncDisposable>(thing: T): T {
    this.#things.unshift(thing);
    return thing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const thing of this.#things) await thing[Symbol.asyncDispose]();
  }
}
