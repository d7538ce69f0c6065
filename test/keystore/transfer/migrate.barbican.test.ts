import { afterAll, beforeAll } from "vitest";
import { type BarbicanServer, startBarbican } from "../../lab/barbican-server.js";
import { barbicanFixture } from "../barbican/barbican-fixture.js";
import { remoteMigration } from "./remote-migration.js";

let server: BarbicanServer;

beforeAll(async () => {
  server = await startBarbican();
});
afterAll(() => server.stop());

remoteMigration("Barbican", () => Promise.resolve(barbicanFixture(server)));
