import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type LuksmithError, renderError } from "../../../src/error/luksmith-error.js";
import { ExecaCommandRunner } from "../../../src/exec/command-runner.js";
import { KeystoneAccess } from "../../../src/keystore/barbican/keystone-access.js";
import type { TlsSettings } from "../../../src/generated/keystore-tls.js";
import type { SettingsOf } from "../../../src/keystore/index.js";
import { Budget } from "../../../src/keystore/remote/budget.js";
import { Secret } from "../../../src/secret/secret.js";
import { type Authority, makeAuthority } from "../../lab/certificates.js";
import { startFaultyLine } from "../../lab/faulty-line.js";
import { requestToken } from "../../lab/keystone-admin.js";
import { type KeystoneServer, startKeystone } from "../../lab/keystone-server.js";

type Keystone = NonNullable<SettingsOf<"barbican">["keystone"]>;
type PasswordSettings = Extract<Keystone, { method: "password" }>;

/** Quotes, a backslash, what is not ASCII, and a line feed: JSON needs an escape for most of it. */
const PASSWORD = 'pä"ss\\wo\nrd 🔑';
const BARBICAN = "http://127.0.0.1:9311";
/** Seconds that a token lives here. */
const LIFE = 4;

let keystone: KeystoneServer;
let authority: Authority;
let userId: string;
let projectId: string;
let passwordFile: string;
const directory = mkdtempSync(join(tmpdir(), "luksmith-test-"));

beforeAll(async () => {
  authority = await makeAuthority(directory);
  keystone = await startKeystone({ expiration: LIFE, tls: await authority.server("keystone") });
  const { admin } = keystone;
  projectId = await admin.project("vms");
  userId = await admin.user("luksmith", PASSWORD);
  await admin.grant("creator", userId, projectId);
  await admin.grant("reader", userId, projectId);
  await admin.endpoint("key-manager", { region: "north", interface: "public", url: `${BARBICAN}/v1/` });
  await admin.endpoint("key-manager", { region: "north", interface: "internal", url: "http://127.0.0.1:1" });
  passwordFile = secretFile(`${PASSWORD}\n`);
});
afterAll(async () => {
  await keystone[Symbol.asyncDispose]();
  rmSync(directory, { recursive: true });
});

let files = 0;
function secretFile(text: string | Uint8Array): string {
  const path = join(directory, `secret-${files++}`);
  writeFileSync(path, text, { mode: 0o600 });
  return path;
}

function passwordSettings(change: Partial<PasswordSettings> = {}): PasswordSettings {
  const { url } = keystone;
  return { method: "password", url, user: "luksmith", project: "vms", passwordFile, ...change };
}

function accessOf(
  settings: Keystone = passwordSettings(),
  {
    token,
    timeout = 8,
    url,
    tls = {},
  }: { token?: Secret; timeout?: number; url?: string; tls?: TlsSettings } = {},
): KeystoneAccess {
  const barbican = { name: "cloud", type: "barbican", tls, timeout, keystone: settings } as const;
  const runner = new ExecaCommandRunner();
  return new KeystoneAccess({ ...barbican, ...(url && { url }) }, { runner, ...(token && { token }) });
}

const budget = (milliseconds = 8000) => new Budget(milliseconds);

async function tokenOf(access: KeystoneAccess): Promise<string> {
  return (await access.headers(budget()))["x-auth-token"]!;
}

interface TokenData {
  readonly token: { readonly user: { readonly name: string }; readonly project: { readonly id: string } };
}

/** What Keystone says of a token to its administrator. @throws if it is not valid */
async function whose(token: string): Promise<TokenData["token"]> {
  const headers = { "x-subject-token": token };
  return ((await keystone.admin.call("GET", "/auth/tokens", undefined, headers)) as TokenData).token;
}

async function failure(promise: Promise<unknown>): Promise<LuksmithError> {
  return promise.then(
    () => expect.unreachable("it did not fail"),
    (thrown: unknown) => thrown as LuksmithError,
  );
}

describe("a password", () => {
  it("gets a token for the project, and Barbican's address", async () => {
    const access = accessOf();
    expect(await whose(await tokenOf(access))).toMatchObject({
      user: { name: "luksmith" },
      project: { id: projectId },
    });
    expect(await access.endpoint(budget())).toBe(BARBICAN);
  });

  it("works with users and projects of other domains, of any name", async () => {
    const { admin } = keystone;
    const [userDomain, projectDomain] = ['Bäume "1"', "\\proj"];
    const user = await admin.user("Ключ", "pw", await admin.domain(userDomain));
    const project = await admin.project("vms", await admin.domain(projectDomain));
    await admin.grant("creator", user, project);
    const login = { user: "Ключ", userDomain, projectDomain, passwordFile: secretFile("pw") };
    const token = await tokenOf(accessOf(passwordSettings(login)));
    expect(await whose(token)).toMatchObject({ project: { id: project } });
  });

  it.each(["", "/v3", "/v3/", "/"])(
    "finds the identity API at an address that ends with '%s'",
    async (end) => {
      const access = accessOf(passwordSettings({ url: keystone.url.replace("/v3", end) }));
      expect(await tokenOf(access)).toMatch(/^gAAAA/);
    },
  );

  it.each<[string, () => Partial<PasswordSettings>]>([
    ["password", () => ({ passwordFile: secretFile("very secret but wrong") })],
    ["user", () => ({ user: "nobody" })],
    ["domain of the user", () => ({ userDomain: "nowhere" })],
    ["project, or one where the user has no role", () => ({ project: "admin" })],
  ])("is refused with a wrong %s, and the error says whose it is and where it is from", async (_, change) => {
    const settings = passwordSettings(change());
    const error = await failure(accessOf(settings).headers(budget()));
    expect(error.code).toBe("KEYSTORE_AUTH_FAILED");
    expect(error.why).toContain(`user ${settings.user} `);
    expect(error.why).toContain(`project ${settings.project} `);
    expect(error.hint).toContain(settings.passwordFile);
    expect(renderError(error)).not.toMatch(/very secret|wo\nrd/);
  });

  it("of a user who was disabled is refused", async () => {
    const { admin } = keystone;
    const user = await admin.user("leaver", "pw");
    await admin.grant("creator", user, projectId);
    const access = accessOf(passwordSettings({ user: "leaver", passwordFile: secretFile("pw") }));
    const headers = await access.headers(budget());
    await admin.changeUser(user, { enabled: false });
    expect(access.renew(headers)).toBe(true);
    expect(await failure(access.headers(budget()))).toMatchObject({ code: "KEYSTORE_AUTH_FAILED" });
  });

  it.each([
    ["is not there", () => join(directory, "none"), "KEYSTORE_CREDENTIAL_MISSING"],
    ["is empty", () => secretFile("\n"), "KEYSTORE_CREDENTIAL_MISSING"],
    ["is not UTF-8", () => secretFile(Buffer.from([0x70, 0xff])), "KEYSTORE_AUTH_FAILED"],
    ["can be read by others", () => readableByAll(secretFile(PASSWORD)), "PERMISSIONS_UNSAFE"],
  ])("whose file %s is not sent", async (_, file, code) => {
    const path = file();
    const error = await failure(accessOf(passwordSettings({ passwordFile: path })).headers(budget()));
    expect(error.code).toBe(code);
    expect(renderError(error)).toContain(path);
  });
});

function readableByAll(path: string): string {
  chmodSync(path, 0o644);
  return path;
}

describe("Keystone's TLS", () => {
  const settings = (tls?: TlsSettings) => passwordSettings({ url: keystone.tlsUrl, ...(tls && { tls }) });

  it("is verified, by the authority in the settings", async () => {
    const { caFile } = authority;
    expect(await tokenOf(accessOf(settings(), { tls: { caFile } }))).toMatch(/^gAAAA/);
    const error = await failure(accessOf(settings()).headers(budget()));
    expect(error).toMatchObject({ code: "KEYSTORE_TLS_FAILED" });
    expect(error.why).toMatch(/^Keystone at https/);
  });

  it("does not need the name that Barbican's certificate has", async () => {
    const tls = { caFile: authority.caFile, serverName: "barbican.example" };
    expect(await tokenOf(accessOf(settings(), { tls }))).toMatch(/^gAAAA/);
    const error = await failure(accessOf(settings(tls)).headers(budget()));
    expect(error).toMatchObject({ code: "KEYSTORE_TLS_FAILED" });
  });

  it("may be another one than Barbican's", async () => {
    const other = await makeAuthority(directory, "other");
    const access = accessOf(settings({ caFile: authority.caFile }), { tls: { caFile: other.caFile } });
    expect(await tokenOf(access)).toMatch(/^gAAAA/);
  });
});

describe("an application credential", () => {
  const login = { user: "luksmith", password: PASSWORD, project: "vms" };

  function settingsOf(id: string, secret: string): Keystone {
    return { method: "application-credential", url: keystone.url, id, secretFile: secretFile(secret) };
  }

  it("gets a token of its user and project, until it is deleted", async () => {
    const { id, secret } = await keystone.admin.applicationCredential(login, userId);
    const access = accessOf(settingsOf(id, `${secret}\n`));
    const headers = await access.headers(budget());
    expect(await whose(headers["x-auth-token"]!)).toMatchObject({ project: { id: projectId } });
    await keystone.admin.removeApplicationCredential(login, userId, id);
    expect(access.renew(headers)).toBe(true);
    const error = await failure(access.headers(budget()));
    expect(error).toMatchObject({ code: "KEYSTORE_AUTH_FAILED" });
    expect(error.why).toContain(`application credential ${id}`);
    expect(renderError(error)).not.toContain(secret);
  });

  it("with a wrong secret is refused", async () => {
    const { id } = await keystone.admin.applicationCredential(login, userId);
    const settings = settingsOf(id, "not its secret");
    const error = await failure(accessOf(settings).headers(budget()));
    expect(error.code).toBe("KEYSTORE_AUTH_FAILED");
    expect(error.hint).toContain(directory);
  });
});

describe("a token that a user hands over", () => {
  const login = { user: "luksmith", password: PASSWORD, project: "vms" };
  const settings = (): Keystone => ({ method: "token", url: keystone.url });

  it("is what Barbican gets, and leads to Barbican", async () => {
    const text = await requestToken(keystone.url, login);
    using token = Secret.own(Buffer.from(text));
    const access = accessOf(settings(), { token });
    const headers = await access.headers(budget());
    expect(headers).toEqual({ "x-auth-token": text });
    expect(await access.endpoint(budget())).toBe(BARBICAN);
    expect(access.renew(headers)).toBe(false);
  });

  it("is needed, and a hook is told what to do without", async () => {
    const error = await failure(accessOf(settings()).headers(budget()));
    expect(error.code).toBe("KEYSTORE_AUTH_FAILED");
    expect(error.hint).toMatch(/--token-file.*application credential/);
  });

  it.each<[string, () => Promise<string>]>([
    [
      "was revoked",
      async () => {
        const text = await requestToken(keystone.url, login);
        await keystone.admin.revoke(text);
        return text;
      },
    ],
    ["nobody has issued", () => Promise.resolve("gAAAAABnonsense")],
    ["cannot be in a header", () => Promise.resolve("token\r\nX-Other: 1")],
    ["is for no project", () => unscopedToken()],
  ])("is refused if it %s", async (_, make) => {
    const text = await make();
    using token = Secret.own(Buffer.from(text));
    const error = await failure(accessOf(settings(), { token }).headers(budget()));
    expect(error.code).toBe("KEYSTORE_AUTH_FAILED");
    expect(error.hint).toMatch(/token/);
    expect(renderError(error)).not.toContain(text);
  });

  async function unscopedToken(): Promise<string> {
    const user = { name: "luksmith", domain: { id: "default" }, password: PASSWORD };
    const answer = await fetch(`${keystone.url}/auth/tokens`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({
        auth: { identity: { methods: ["password"], password: { user } }, scope: "unscoped" },
      }),
    });
    return answer.headers.get("x-subject-token")!;
  }
});

describe("a token that Luksmith gets for itself", () => {
  it("is asked for once, however many need it at the same time", async () => {
    const access = accessOf();
    const first = await Promise.all(Array.from({ length: 16 }, () => tokenOf(access)));
    expect(new Set(first).size).toBe(1);
    const refused = { "x-auth-token": first[0]! };
    const second = await Promise.all(
      Array.from({ length: 16 }, async (_, index) => {
        await setTimeout(index);
        expect(access.renew(refused)).toBe(true);
        return tokenOf(access);
      }),
    );
    expect(new Set(second).size).toBe(1);
    expect(second[0]).not.toBe(first[0]);
    // one who comes late with the old one ends nothing
    access.renew(refused);
    expect(await tokenOf(access)).toBe(second[0]);
  });

  it("is not used to its very end: another one comes before", async () => {
    const access = accessOf();
    const first = await tokenOf(access);
    expect(await tokenOf(access)).toBe(first);
    await setTimeout(500 * LIFE);
    await expect(whose(first)).resolves.toBeDefined();
    const second = await tokenOf(access);
    expect(second).not.toBe(first);
    await setTimeout(1000 * LIFE);
    await expect(whose(second)).rejects.toThrow("404");
    await expect(whose(await tokenOf(access))).resolves.toBeDefined();
  });

  it("comes from the password as its file has it by then", async () => {
    const { admin } = keystone;
    const user = await admin.user("rotating", "old password");
    await admin.grant("creator", user, projectId);
    const file = secretFile("old password");
    const access = accessOf(passwordSettings({ user: "rotating", passwordFile: file }));
    const headers = await access.headers(budget());
    await admin.changeUser(user, { password: "new password" });
    access.renew(headers);
    expect(await failure(access.headers(budget()))).toMatchObject({ code: "KEYSTORE_AUTH_FAILED" });
    writeFileSync(file, "new password");
    expect(await tokenOf(access)).toMatch(/^gAAAA/);
  });
});

describe("Barbican's address", () => {
  it("is the one in the settings, whatever the catalog has", async () => {
    const access = accessOf(passwordSettings({ url: "http://127.0.0.1:1" }), {
      url: "https://b.example/key/v1/",
    });
    expect(await access.endpoint(budget())).toBe("https://b.example/key");
  });

  it("is that of the interface and the region in the settings", async () => {
    const { admin } = keystone;
    const south = "http://127.0.0.1:2";
    const id = await admin.endpoint("key-manager", { region: "south", interface: "public", url: south });
    try {
      const endpointOf = (change: Partial<PasswordSettings>) =>
        accessOf(passwordSettings(change)).endpoint(budget());
      expect(await endpointOf({ region: "south" })).toBe(south);
      expect(await endpointOf({ interface: "internal" })).toBe("http://127.0.0.1:1");
      const error = await failure(endpointOf({}));
      expect(error).toMatchObject({ code: "SETTINGS_INVALID" });
      expect(error.hint).toContain("north, south");
    } finally {
      await admin.removeEndpoint(id);
    }
  });
});

describe("a Keystone that is not well", () => {
  it("holds nobody up longer than allowed, when it is frozen", async () => {
    const [long, short] = [accessOf(), accessOf()];
    keystone.freeze();
    try {
      expect(await failure(short.headers(budget(500)))).toMatchObject({ code: "KEYSTORE_UNAVAILABLE" });
      // one who waits for the request of another has its own limit
      let over = false;
      const patient = failure(long.headers(budget(2000))).finally(() => (over = true));
      expect(await failure(long.headers(budget(500)))).toMatchObject({ code: "KEYSTORE_UNAVAILABLE" });
      expect(over).toBe(false);
      expect(await patient).toMatchObject({ code: "KEYSTORE_UNAVAILABLE" });
    } finally {
      keystone.thaw();
    }
    expect(await tokenOf(long)).toMatch(/^gAAAA/);
  });

  it("is asked again by one whose time is not over, when that of the one who has begun is", async () => {
    const access = accessOf();
    keystone.freeze();
    try {
      const first = failure(access.headers(budget(300)));
      const second = access.headers(budget(8000));
      expect(await first).toMatchObject({ code: "KEYSTORE_UNAVAILABLE" });
      keystone.thaw();
      expect((await second)["x-auth-token"]).toMatch(/^gAAAA/);
    } finally {
      keystone.thaw();
    }
  });

  it("is named when it is down, and used again when it is back", async () => {
    const access = accessOf();
    keystone.kill();
    const error = await failure(access.headers(budget(1000)));
    expect(error).toMatchObject({ code: "KEYSTORE_UNAVAILABLE" });
    expect(error.why).toMatch(/^Keystone at http:\/\/127/);
    await keystone.restart();
    expect(await tokenOf(access)).toMatch(/^gAAAA/);
  });

  it("may be slow", async () => {
    await using line = await startFaultyLine(keystone);
    line.weather = { kind: "slow", milliseconds: 150 };
    const url = `http://127.0.0.1:${line.port}`;
    expect(await tokenOf(accessOf(passwordSettings({ url })))).toMatch(/^gAAAA/);
  });

  it("may lose a connection once: to log in is tried again", async () => {
    await using line = await startFaultyLine(keystone);
    line.weather = { kind: "reset" };
    const url = `http://127.0.0.1:${line.port}`;
    const token = tokenOf(accessOf(passwordSettings({ url })));
    await setTimeout(50);
    line.weather = { kind: "fine" };
    expect(await token).toMatch(/^gAAAA/);
    expect(line.connections).toBeGreaterThan(1);
  });
});
