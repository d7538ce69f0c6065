import { remoteKeystoreContract } from "../../contract/remote-keystore.contract.js";
import { kmipWorld } from "./kmip.fixture.js";

const world = kmipWorld();

remoteKeystoreContract("KMIP keystore", () => world.fixture(), {
  cuts: [0, 700, 1300, 1500, 1700, 1900],
  // everybody with a certificate may register objects
  forbidden: "what others have stored",
});
