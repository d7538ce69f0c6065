import { afterAll, beforeAll } from "vitest";
import { keystoreContract } from "../../contract/keystore.contract.js";
import { type BarbicanServer, startBarbican } from "../../lab/barbican-server.js";
import { barbicanFixture } from "./barbican-fixture.js";

let server: BarbicanServer;
beforeAll(async () => {
  server = await startBarbican();
});
afterAll(() => server.stop());

keystoreContract("Barbican", () => Promise.resolve(barbicanFixture(server)));
