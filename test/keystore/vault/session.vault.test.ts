import { chmodSync, rmSync, writeFileSync } from "node:fs";
import { setTimeout } from "node:timers/promises";
import { afterAll, afterEach, beforeEach, describe, expect, it } from "vitest";
import { type LuksmithError, renderError } from "../../../src/error/luksmith-error.js";
import { keyUuidOf } from "../../../src/keystore/key-record.js";
import { newKeyUuid } from "../../../src/keystore/key-uuid.js";
import { passphraseIn, sampleRecord, storeText } from "../sample-key.js";
import { realVault, startFakeVault } from "./vault-server.js";
import { type VaultFixture, vaultFixture } from "./vault.fixture.js";

const fake = await startFakeVault();
const real = realVault();
const servers = [
  ["a fake of Vault", fake] as const,
  ...(real ? [["a real Vault or OpenBao", real] as const] : []),
];
afterAll(async () => {
  for (const [, server] of servers) await server[Symbol.asyncDispose]();
});

let fixture: VaultFixture;
const absent = (keystore = fixture.keystore) => keystore.fetch(newKeyUuid());
const countOf = (requests: readonly string[], part: string) =>
  requests.filter((request) => request.includes(part)).length;

describe.each(servers)("a session with %s", (_, server) => {
  beforeEach(async () => {
    fixture = await vaultFixture(server);
  });
  afterEach(async () => {
    await fixture[Symbol.asyncDispose]();
  });

  it("outlives its token", async () => {
    const keystore = fixture.make({ auth: await fixture.appRole({ token_ttl: "2s", token_max_ttl: "3s" }) });
    const record = sampleRecord();
    await storeText(keystore, record, "passphrase");
    for (let count = 0; count < 5; count++) {
      await setTimeout(900);
      expect(String(await passphraseIn(keystore, record))).toBe("passphrase");
    }
  });

  it("logs in with the secret id that is in the file now", async () => {
    const auth = await fixture.appRole({ token_ttl: "1s", token_max_ttl: "1s" });
    const keystore = fixture.make({ auth });
    await absent(keystore);
    writeFileSync(auth.secretIdFile, "wrong");
    await setTimeout(1100);
    await expect(absent(keystore)).rejects.toMatchObject({ code: "KEYSTORE_AUTH_FAILED" });
    const { secret_id: secretId } = await fixture.admin.data("POST", `${fixture.role}/secret-id`, {});
    writeFileSync(auth.secretIdFile, String(secretId));
    // of the other role
    await expect(absent(keystore)).rejects.toMatchObject({ code: "KEYSTORE_AUTH_FAILED" });
    expect(await absent(fixture.make({ auth: { ...auth, roleId: fixture.auth.roleId } }))).toBeUndefined();
  });

  it.each<[string, (auth: VaultFixture["auth"]) => VaultFixture["auth"]]>([
    ["a wrong secret id", (auth) => ({ ...auth, secretIdFile: fixture.file("a-very-secret-id") })],
    ["a wrong role id", (auth) => ({ ...auth, roleId: "nobody" })],
    ["a wrong mount", (auth) => ({ ...auth, mount: "nowhere" })],
  ])("is refused with %s, and the error has no secret", async (_, change) => {
    const thrown = await absent(fixture.make({ auth: change(fixture.auth) })).catch(
      (error: unknown) => error,
    );
    expect(thrown).toMatchObject({
      code: "KEYSTORE_AUTH_FAILED",
      hint: expect.stringContaining("secret-id") as string,
    });
    expect(renderError(thrown as LuksmithError)).not.toContain("a-very-secret-id");
  });

  it("knows a missing policy from a token without the policy default", async () => {
    const record = sampleRecord();
    await storeText(fixture.keystore, record, "passphrase");
    const may = fixture.make({
      auth: await fixture.appRole({ token_no_default_policy: true }),
    });
    expect(String(await passphraseIn(may, record))).toBe("passphrase");
    await fixture.admin.policy("nothing", { nothing: ["read"] });
    const auth = await fixture.appRole({ token_policies: ["nothing"], token_no_default_policy: true });
    await expect(fixture.make({ auth }).fetch(keyUuidOf(record))).rejects.toMatchObject({
      code: "KEYSTORE_FORBIDDEN",
    });
  });

  describe("whose token is in a file", () => {
    const withToken = (tokenFile: string) => fixture.make({ auth: { method: "token", tokenFile } });
    const newToken = (options = {}) => fixture.admin.token({ policies: [fixture.policy], ...options });

    it("works, and is renewed while it is used", async () => {
      const keystore = withToken(fixture.file(await newToken({ period: "2s" })));
      const record = sampleRecord();
      await storeText(keystore, record, "passphrase");
      for (let count = 0; count < 4; count++) {
        await setTimeout(1100);
        expect(String(await passphraseIn(keystore, record))).toBe("passphrase");
      }
      await keystore.test();
    });

    it("takes the token that somebody has put there instead of one that is revoked", async () => {
      const first = await newToken();
      const file = fixture.file(first);
      const keystore = withToken(file);
      expect(await absent(keystore)).toBeUndefined();
      await fixture.admin.ask("POST", "auth/token/revoke", { token: first });
      await expect(absent(keystore)).rejects.toMatchObject({
        code: "KEYSTORE_AUTH_FAILED",
        hint: expect.stringContaining(file) as string,
      });
      writeFileSync(file, await newToken());
      expect(await absent(keystore)).toBeUndefined();
    });

    it("is refused when the token has expired, and forbidden what it has no policy for", async () => {
      const keystore = withToken(fixture.file(await newToken({ ttl: "1s", renewable: false })));
      expect(await absent(keystore)).toBeUndefined();
      await setTimeout(1500);
      await expect(absent(keystore)).rejects.toMatchObject({ code: "KEYSTORE_AUTH_FAILED" });
      const weak = withToken(fixture.file(await fixture.admin.token({ policies: ["default"] })));
      await expect(absent(weak)).rejects.toMatchObject({ code: "KEYSTORE_FORBIDDEN" });
    });

    it("says what is wrong with the file", async () => {
      const file = fixture.file(await newToken());
      chmodSync(file, 0o644);
      await expect(absent(withToken(file))).rejects.toMatchObject({ code: "PERMISSIONS_UNSAFE" });
      rmSync(file);
      await expect(absent(withToken(file))).rejects.toMatchObject({ code: "KEYSTORE_CREDENTIAL_MISSING" });
      await expect(absent(withToken(fixture.file("two\nlines")))).rejects.toMatchObject({
        code: "KEYSTORE_CREDENTIAL_MISSING",
        why: expect.stringContaining("more in it than a token") as string,
      });
    });
  });
});

describe("requests of a session with a fake of Vault", () => {
  beforeEach(async () => {
    fixture = await vaultFixture(fake);
    await fake.requests();
  });
  afterEach(async () => {
    await fake.calm();
    await fixture[Symbol.asyncDispose]();
  });

  it("share one login and one look at the engine", async () => {
    await Promise.all(Array.from({ length: 20 }, () => absent()));
    const requests = await fake.requests();
    expect(countOf(requests, "/login")).toBe(1);
    expect(countOf(requests, "sys/internal/ui/mounts")).toBeLessThanOrEqual(20);
    await absent();
    expect(await fake.requests()).toEqual([expect.stringMatching(/^GET .*\/data\//)]);
  });

  it("go below the path of a reverse proxy", async () => {
    await fixture.make({ url: `${fake.url}/proxy/vault/` }).test();
  });

  it("are two for a key that is there: the login and the key", async () => {
    const record = sampleRecord();
    await storeText(fixture.another(), record, "passphrase");
    await fake.requests();
    await passphraseIn(fixture.keystore, record);
    expect(await fake.requests()).toHaveLength(2);
  });

  it("renew the token when half of its time is over, and log in again when that does not help", async () => {
    const keystore = fixture.make({ auth: await fixture.appRole({ token_ttl: "3s", token_max_ttl: "4s" }) });
    await absent(keystore);
    await fake.requests();
    await setTimeout(1600);
    await Promise.all([absent(keystore), absent(keystore), absent(keystore)]);
    const renewed = await fake.requests();
    expect([countOf(renewed, "renew-self"), countOf(renewed, "/login")]).toEqual([1, 0]);
    await setTimeout(1200);
    await absent(keystore);
    const replaced = await fake.requests();
    expect([countOf(replaced, "renew-self"), countOf(replaced, "/login")]).toEqual([1, 1]);
  });

  it("log in again once when the server does not know the token any more", async () => {
    await absent();
    await fake.requests();
    const denied = { status: 403, body: { errors: ["permission denied"] } };
    await fake.trap({ path: "/data/", when: "before", action: denied });
    await fake.trap({ path: "lookup-self", when: "before", action: denied });
    expect(await absent()).toBeUndefined();
    expect(countOf(await fake.requests(), "/login")).toBe(1);
    await fake.trap({ path: "/data/", when: "before", action: denied, count: 9 });
    await fake.trap({ path: "lookup-self", when: "before", action: denied, count: 9 });
    await expect(absent()).rejects.toMatchObject({ code: "KEYSTORE_FORBIDDEN" });
    expect(countOf(await fake.requests(), "/login")).toBe(1);
  });
});
