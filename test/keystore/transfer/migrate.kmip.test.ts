import { kmipWorld } from "../kmip/kmip.fixture.js";
import { remoteMigration } from "./remote-migration.js";

const world = kmipWorld();

remoteMigration("KMIP", () => world.fixture());
