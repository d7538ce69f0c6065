import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll } from "vitest";
import { remoteKeystoreContract } from "../../contract/remote-keystore.contract.js";
import { type BarbicanServer, startBarbican } from "../../lab/barbican-server.js";
import { makeAuthority } from "../../lab/certificates.js";
import { barbicanFixture } from "./barbican-fixture.js";

let directory: string;
let caFile: string;
let server: BarbicanServer;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "luksmith-test-"));
  const authority = await makeAuthority(directory);
  ({ caFile } = authority);
  server = await startBarbican({ tls: await authority.server("server") });
});
afterAll(async () => {
  await server.stop();
  await rm(directory, { recursive: true });
});

// before an answer, in the handshake, and where an answer is under way
remoteKeystoreContract("Barbican over TLS", () => Promise.resolve(barbicanFixture(server, { caFile })), {
  cuts: [0, 200, 1300],
});
