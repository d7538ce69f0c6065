import { afterAll, describe } from "vitest";
import { keystoreContract } from "../../contract/keystore.contract.js";
import { remoteKeystoreContract } from "../../contract/remote-keystore.contract.js";
import { realVault, startFakeVault } from "./vault-server.js";
import { remoteVaultFixture, vaultFixture } from "./vault.fixture.js";

const http = await startFakeVault();
const https = await startFakeVault({ tls: true });
afterAll(async () => {
  await http[Symbol.asyncDispose]();
  await https[Symbol.asyncDispose]();
});

keystoreContract("a fake of Vault over TLS", () => vaultFixture(https));
// every answer has more than 500 bytes, so that no connection brings one
remoteKeystoreContract("a fake of Vault", () => remoteVaultFixture(http), {
  cuts: [0, 1, 100, 300, 500],
});

const real = realVault();
if (real !== undefined) {
  describe("where VAULT_ADDR names a server", () => {
    afterAll(() => real[Symbol.asyncDispose]());
    keystoreContract("a real Vault or OpenBao", () => vaultFixture(real));
  });
}
