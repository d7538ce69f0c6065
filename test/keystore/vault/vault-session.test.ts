import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Budget } from "../../../src/keystore/remote/budget.js";
import { badAnswer, unavailable } from "../../../src/keystore/remote/failures.js";
import type { VaultAnswer } from "../../../src/keystore/vault/vault-client.js";
import { type VaultLine, VaultSession } from "../../../src/keystore/vault/vault-session.js";

type Send = VaultLine["send"];

const place = { name: "vault1", address: "https://vault.example" };
const SECRET_ID = "a-secret-id-of-this-host";
const TOKEN = "s.a-token-of-this-host";

let directory: string;
let file: string;
/** What was asked, by the last part of its path. */
let asked: string[];
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "luksmith-vault-"));
  file = join(directory, "credential");
  asked = [];
});
afterEach(() => {
  vi.restoreAllMocks();
  rmSync(directory, { recursive: true });
});

const json = (status: number, body: object): VaultAnswer => ({
  status,
  body: Buffer.from(JSON.stringify(body)),
});
const granted = (token = TOKEN, seconds = 1) =>
  json(200, { auth: { client_token: token, lease_duration: seconds, renewable: true } });
const late: Send = async (_, budget) => {
  await setTimeout(budget.left);
  throw unavailable(place, "it did not answer in time");
};
const data: Send = () => Promise.resolve(json(200, { data: {} }));

/** A session whose server answers as `answers` says: by the last part of the path, one after the other, the last again. */
function session(
  answers: Readonly<Record<string, readonly Send[]>>,
  method: "approle" | "token" = "approle",
): VaultSession {
  writeFileSync(file, method === "token" ? TOKEN : SECRET_ID, { mode: 0o600 });
  const auth =
    method === "token"
      ? ({ method, tokenFile: file } as const)
      : ({ method, roleId: 'role "1"', secretIdFile: file } as const);
  const send: Send = (request, budget) => {
    const name = request.path.split("/").at(-1)!;
    const those = answers[name] ?? [data];
    const count = asked.filter((other) => other === name).length;
    asked.push(name);
    return those[Math.min(count, those.length - 1)]!(request, budget);
  };
  return new VaultSession({ place, send }, { name: "vault1", auth });
}
const request = { method: "GET", path: "secret/data/key" } as const;
const login: Send = () => Promise.resolve(granted());

describe("a renewal that fails", () => {
  it.each<[string, Send]>([
    ["by a page of a proxy", () => Promise.reject(badAnswer(place, "status 403"))],
    ["by a server that does not answer", late],
  ])("%s takes nothing from a token that is valid, and is not tried again at once", async (_, renewal) => {
    const one = session({
      login: [() => Promise.resolve(granted(TOKEN, 2))],
      "renew-self": [renewal],
    });
    await one.send(request, new Budget(1000));
    await setTimeout(1100);
    for (let count = 0; count < 3; count++) {
      expect((await one.send(request, new Budget(900))).status).toBe(200);
    }
    expect(asked.filter((name) => name !== "key")).toEqual(["login", "renew-self"]);
  });

  it("is replaced by a login when the token is over meanwhile", async () => {
    const one = session({ login: [login], "renew-self": [late] });
    await one.send(request, new Budget(1000));
    await setTimeout(600);
    expect((await one.send(request, new Budget(1500))).status).toBe(200);
    expect(asked.filter((name) => name !== "key")).toEqual(["login", "renew-self", "login"]);
  });

  it("lets others go on meanwhile", async () => {
    const one = session({ login: [() => Promise.resolve(granted(TOKEN, 2))], "renew-self": [late] });
    await one.send(request, new Budget(1000));
    await setTimeout(1100);
    const order: string[] = [];
    const waiting = one.send(request, new Budget(2000)).then(() => order.push("the one that renews"));
    await one.send(request, new Budget(3000)).then(() => order.push("another"));
    await waiting;
    expect(order).toEqual(["another", "the one that renews"]);
  });
});

describe("a login that operations share", () => {
  it("is tried again by one that has time left, when the time of the first is over", async () => {
    const one = session({ login: [late, login] });
    const first = one.send(request, new Budget(300));
    const others = [1, 2, 3].map(() => one.send(request, new Budget(3000)));
    await expect(first).rejects.toMatchObject({ code: "KEYSTORE_UNAVAILABLE" });
    for (const other of others) expect((await other).status).toBe(200);
    expect(asked.filter((name) => name === "login")).toHaveLength(2);
  });

  it("keeps nobody longer than his own time", async () => {
    const one = session({ login: [late] });
    const order: string[] = [];
    const first = one.send(request, new Budget(1700)).catch(() => order.push("1.7 s"));
    const second = one.send(request, new Budget(200)).catch((thrown: unknown) => {
      order.push("0.2 s");
      throw thrown;
    });
    await expect(second).rejects.toMatchObject({ code: "KEYSTORE_UNAVAILABLE" });
    await first;
    expect(order).toEqual(["0.2 s", "1.7 s"]);
  });

  it("is refused for all of them at once", async () => {
    const refusal = () => Promise.resolve(json(400, { errors: ["invalid role or secret ID"] }));
    const one = session({ login: [refusal] });
    const all = await Promise.allSettled([1, 2, 3, 4].map(() => one.send(request, new Budget(500))));
    for (const result of all) expect(result).toMatchObject({ reason: { code: "KEYSTORE_AUTH_FAILED" } });
    expect(asked).toEqual(["login"]);
  });
});

describe("secrets of a session", () => {
  const expectNone = (calls: readonly unknown[][]) => {
    const texts = calls.flat().map(String);
    for (const secret of [SECRET_ID, TOKEN]) {
      expect(texts.filter((text) => text.includes(secret))).toEqual([]);
    }
  };

  it.each([
    ["200", () => granted()],
    ["400", () => json(400, { errors: [`invalid secret_id "${SECRET_ID}"`] })],
    ["404", () => json(404, { errors: [`nothing for ${SECRET_ID}`] })],
  ])("are not in strings at a login, and not in its answer afterwards: %s", async (_, make) => {
    const answer = make();
    let sent: Uint8Array | undefined;
    let text = "";
    const one = session({
      login: [
        ({ body }) => {
          sent = body;
          text = String(body);
          return Promise.resolve(answer);
        },
      ],
    });
    const [parse, stringify] = [vi.spyOn(JSON, "parse"), vi.spyOn(JSON, "stringify")];
    await one.send(request, new Budget(1000)).catch(() => undefined);
    expectNone([...parse.mock.calls, ...stringify.mock.calls]);
    vi.restoreAllMocks();
    expect(JSON.parse(text)).toEqual({ role_id: 'role "1"', secret_id: SECRET_ID });
    for (const bytes of [answer.body, sent!]) expect(bytes.every((byte) => byte === 0)).toBe(true);
  });

  it.each([["ümläut-secret-id"], ['with "quotes" and \\'], ["<&>"]])(
    "may have any text: %s",
    async (secretId) => {
      let text = "";
      const one = session({
        login: [
          ({ body }) => {
            text = String(body);
            return login(request, new Budget(1));
          },
        ],
      });
      writeFileSync(file, secretId);
      await one.send(request, new Budget(1000));
      expect(JSON.parse(text)).toMatchObject({ secret_id: secretId });
    },
  );

  it("are not in strings when a token is looked up, and not in the answers afterwards", async () => {
    const answers = [
      json(200, { data: { id: TOKEN, ttl: 1, creation_ttl: 2, renewable: true } }),
      json(403, { errors: [`permission denied ${TOKEN}`] }),
    ] as const;
    const one = session(
      {
        "lookup-self": [() => Promise.resolve(answers[0])],
        "renew-self": [() => Promise.resolve(answers[1])],
      },
      "token",
    );
    const parse = vi.spyOn(JSON, "parse");
    // half of its time is over when it is first seen
    await one.send(request, new Budget(1000));
    await one.send(request, new Budget(1000));
    expectNone(parse.mock.calls);
    expect(asked).toEqual(["lookup-self", "key", "renew-self", "key"]);
    for (const { body } of answers) expect(body.every((byte) => byte === 0)).toBe(true);
  });
});
