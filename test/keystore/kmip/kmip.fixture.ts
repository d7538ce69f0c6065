import { randomUUID } from "node:crypto";
import { afterAll, beforeAll } from "vitest";
import { keyUuidOf } from "../../../src/keystore/key-record.js";
import type { SettingsOf } from "../../../src/keystore/index.js";
import { KmipKeystore } from "../../../src/keystore/kmip/kmip-keystore.js";
import type { RemoteKeystoreFixture } from "../../contract/remote-keystore.contract.js";
import { type Authority, type KeyPair, makeAuthority } from "../../lab/certificates.js";
import { type FaultyLine, startFaultyLine } from "../../lab/faulty-line.js";
import { type PyKmipServer, startPyKmipServer } from "../../lab/pykmip-server.js";

/** One server for a test file, with three clients. */
export interface KmipWorld {
  readonly server: PyKmipServer;
  /** Whose keys the tests use. */
  readonly owner: KeyPair;
  /** Has a certificate of the same authority. */
  readonly neighbour: KeyPair;
  /** Has a certificate that the server does not trust. */
  readonly stranger: KeyPair;
  settings(change?: Partial<SettingsOf<"kmip">>): SettingsOf<"kmip">;
  /** An empty keystore: each has a group of its own on the server. */
  fixture(change?: Partial<SettingsOf<"kmip">>): Promise<RemoteKeystoreFixture>;
}

/** To be called at the top of a test file. */
export function kmipWorld(): KmipWorld {
  let server: PyKmipServer;
  let owner: KeyPair;
  let neighbour: KeyPair;
  let stranger: KeyPair;
  beforeAll(async () => {
    server = await startPyKmipServer();
    const others: Authority = await makeAuthority(server.directory, "another-ca");
    owner = await server.authority.client("owner", "owner");
    neighbour = await server.authority.client("neighbour", "neighbour");
    stranger = await others.client("stranger", "owner");
  });
  afterAll(async () => {
    await server[Symbol.asyncDispose]();
  });

  const settings = (change: Partial<SettingsOf<"kmip">> = {}): SettingsOf<"kmip"> => ({
    name: "kmip1",
    type: "kmip",
    host: "127.0.0.1",
    port: server.port,
    version: "negotiated",
    object: "secret-data",
    group: `test-${randomUUID()}`,
    timeout: 8,
    tls: { caFile: server.authority.caFile, ...owner },
    ...change,
  });
  const as = (pair: KeyPair) => ({ tls: { caFile: server.authority.caFile, ...pair } });

  const fixture = (change: Partial<SettingsOf<"kmip">> = {}): Promise<RemoteKeystoreFixture> => {
    const ours = settings(change);
    const keystore = new KmipKeystore(ours);
    const lines: FaultyLine[] = [];
    return Promise.resolve({
      keystore,
      another: () => new KmipKeystore(ours),
      async over(timeout) {
        const line = await startFaultyLine(server);
        lines.push(line);
        return { line, keystore: new KmipKeystore({ ...ours, port: line.port, timeout }) };
      },
      // the last byte of what TLS protects
      spoil: (answer) => {
        const spoilt = Buffer.from(answer);
        spoilt[spoilt.length - 1] = (spoilt.at(-1) ?? 0) ^ 0xff;
        return spoilt;
      },
      withWrongCredentials: () => new KmipKeystore({ ...ours, ...as(stranger) }),
      ofForbiddenUser() {
        server.showObjects();
        return new KmipKeystore({ ...ours, ...as(neighbour) });
      },
      restart: () => server.restart(),
      freeze: () => server.freeze(),
      thaw: () => server.thaw(),
      async [Symbol.asyncDispose]() {
        for (const line of lines) await line[Symbol.asyncDispose]();
        // each Locate looks at every object that the server has
        const records = await keystore.list();
        await Promise.all(records.map((record) => keystore.delete(keyUuidOf(record))));
      },
    });
  };

  return {
    get server() {
      return server;
    },
    get owner() {
      return owner;
    },
    get neighbour() {
      return neighbour;
    },
    get stranger() {
      return stranger;
    },
    settings,
    fixture,
  };
}
