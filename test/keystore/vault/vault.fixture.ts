import { randomUUID } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { SettingsOf } from "../../../src/keystore/index.js";
import { VaultKeystore } from "../../../src/keystore/vault/vault-keystore.js";
import type { KeystoreFixture } from "../../contract/keystore.contract.js";
import type { RemoteKeystoreFixture } from "../../contract/remote-keystore.contract.js";
import { startFaultyLine } from "../../lab/faulty-line.js";
import { VaultAdmin } from "./vault-admin.js";
import type { FakeVault, VaultServer } from "./vault-server.js";

type Auth = SettingsOf<"vault">["auth"];

/** A secrets engine, an auth method and a policy of one test, on a server that others use as well. */
export interface VaultFixture extends KeystoreFixture {
  readonly keystore: VaultKeystore;
  another(): VaultKeystore;
  readonly admin: VaultAdmin;
  readonly mount: string;
  /** What the documentation tells administrators to permit. */
  readonly policy: string;
  /** Its path in the API. */
  readonly role: string;
  readonly auth: Auth & { readonly method: "approle" };
  make(change?: Partial<SettingsOf<"vault">>): VaultKeystore;
  /** A file (0600) with `text` and its path. */
  file(text: string): string;
  /** AppRole with a role of its own, made with `options`; policies as the fixture's without them. */
  appRole(options?: Readonly<Record<string, unknown>>): Promise<Auth & { readonly method: "approle" }>;
}

export interface Place {
  /** A namespace of its own, below the server's. */
  readonly namespace?: string;
}

export async function vaultFixture(server: VaultServer, { namespace }: Place = {}): Promise<VaultFixture> {
  const id = randomUUID().slice(0, 8);
  const whole =
    namespace === undefined ? server.namespace : [server.namespace, namespace].filter(Boolean).join("/");
  const admin = new VaultAdmin(server, whole);
  const [mount, method, policy] = [`kv-${id}`, `approle-${id}`, `luksmith-${id}`];
  await admin.enable(mount);
  await admin.ask("POST", `sys/auth/${method}`, { type: "approle" });
  await admin.luksmithPolicy(policy, mount);
  const file = (text: string) => {
    const path = join(server.directory, randomUUID());
    writeFileSync(path, `${text}\n`, { mode: 0o600 });
    return path;
  };
  const appRole = async (options: Readonly<Record<string, unknown>> = {}) => {
    const path = `auth/${method}/role/${randomUUID().slice(0, 8)}`;
    await admin.ask("POST", path, { token_policies: [policy], ...options });
    const { role_id: roleId } = await admin.data("GET", `${path}/role-id`);
    const { secret_id: secretId } = await admin.data("POST", `${path}/secret-id`, {});
    const secretIdFile = file(String(secretId));
    return {
      path,
      auth: { method: "approle", mount: method, roleId: String(roleId), secretIdFile } as const,
    };
  };
  const { path: role, auth } = await appRole();
  const settings: SettingsOf<"vault"> = {
    name: "vault1",
    type: "vault",
    url: server.url,
    ...(whole !== undefined && { namespace: whole }),
    mount,
    prefix: "luksmith",
    auth,
    tls: server.tls,
    timeout: 30,
  };
  const make = (change: Partial<SettingsOf<"vault">> = {}) => new VaultKeystore({ ...settings, ...change });
  return {
    keystore: make(),
    another: make,
    admin,
    mount,
    policy,
    role,
    auth,
    make,
    file,
    appRole: async (options) => (await appRole(options)).auth,
    async [Symbol.asyncDispose]() {
      await admin.ask("DELETE", `sys/mounts/${mount}`);
      await admin.ask("DELETE", `sys/auth/${method}`);
      await admin.ask("DELETE", `sys/policies/acl/${policy}`);
    },
  };
}

export async function remoteVaultFixture(server: FakeVault): Promise<RemoteKeystoreFixture> {
  const fixture = await vaultFixture(server);
  const lines: AsyncDisposable[] = [];
  const stranger = await fixture.appRole({ token_policies: ["default"] });
  return {
    keystore: fixture.keystore,
    another: () => fixture.make(),
    async over(timeout) {
      const line = await startFaultyLine(server);
      lines.push(line);
      const url = server.url.replace(/:\d+$/, `:${line.port}`);
      return { keystore: fixture.make({ url, timeout }), line };
    },
    spoil: (answer) => Buffer.from(answer.toString("latin1").replaceAll('{"', '["'), "latin1"),
    withWrongCredentials: () =>
      fixture.make({ auth: { ...fixture.auth, secretIdFile: fixture.file("wrong-secret-id") } }),
    ofForbiddenUser: () => fixture.make({ auth: stranger }),
    restart: () => server.restart(),
    freeze: () => server.freeze(),
    thaw: () => server.thaw(),
    async [Symbol.asyncDispose]() {
      for (const line of lines) await line[Symbol.asyncDispose]();
      await fixture[Symbol.asyncDispose]();
    },
  };
}
