import { request } from "node:http";
import { describe, expect, it } from "vitest";
import type { RefusalAnswer } from "../../../src/ui/local/protocol.js";
import { PAGES } from "./server-parts.js";
import { openSession, originOf, post, serve, tokenOf } from "./world.js";

type Headers = Readonly<Record<string, string | string[]>>;

/** Any headers, unlike fetch, which forbids some. @returns status code and body */
async function ask(server: { port: number }, method: string, path: string, headers: Headers, body = "") {
  const { port } = server;
  return await new Promise<{ status: number; body: string; headers: Headers }>((resolve, reject) => {
    const call = request({ port, host: "127.0.0.1", method, path, headers, agent: false }, (answer) => {
      const parts: Buffer[] = [];
      answer.on("data", (part: Buffer) => parts.push(part));
      const done = { status: answer.statusCode!, headers: answer.headers as Headers };
      answer.on("end", () => resolve({ ...done, body: Buffer.concat(parts).toString() }));
    });
    call.on("error", reject).end(body);
  });
}

const JSON_TYPE = { "content-type": "application/json" };

describe("the pages", () => {
  it("are what was read at the start", async () => {
    const server = await serve();
    for (const [path, { type, content }] of PAGES) {
      const answer = await fetch(originOf(server) + path);
      expect(answer.status).toBe(200);
      expect(answer.headers.get("content-type")).toBe(type);
      expect(await answer.text()).toBe(content.toString());
    }
  });

  it.each(["/", "/nothing", "/run"])(
    "%s has headers that forbid all that the page does not need",
    async (path) => {
      const { headers } = await fetch(originOf(await serve()) + path);
      const policy = headers.get("content-security-policy")!;
      expect(policy).toMatch(/^default-src 'none'; script-src 'self'; style-src 'self'; /);
      expect(policy).toMatch(/ base-uri 'none'; form-action 'none'; frame-ancestors 'none'$/);
      expect(policy).not.toMatch(/unsafe|\*|http/);
      expect(Object.fromEntries(headers)).toMatchObject({
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cache-control": "no-store",
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
      });
      expect([...headers.keys()].filter((name) => name.startsWith("access-control"))).toEqual([]);
    },
  );

  it.each([
    "/index.html",
    "/app.js?x",
    "//",
    "/../package.json",
    "/%2e%2e/package.json",
    "/app.js/",
    "/APP.JS",
    "/.",
    "*",
  ])("none is at %s", async (path) => {
    const server = await serve();
    const { status } = await ask(server, "GET", path, { host: `127.0.0.1:${server.port}` });
    expect(status).toBe(404);
  });
});

describe("a request is refused", () => {
  it.each<[name: string, host: (port: number) => string]>([
    ["another name that points here", () => "evil.example"],
    ["another name and the right port", (port) => `evil.example:${port}`],
    ["a name that begins like ours", (port) => `127.0.0.1:${port}.evil.example`],
    ["another port, as through ssh -L with two", () => "localhost:9000"],
    ["no port", () => "127.0.0.1"],
    [
      "a name that may be another address of this host, where another user listens",
      (port) => `localhost:${port}`,
    ],
    ["that address", (port) => `[::1]:${port}`],
    ["another address of this host", (port) => `127.0.0.2:${port}`],
    ["the same address written otherwise", (port) => `2130706433:${port}`],
    ["a user before it", (port) => `x@127.0.0.1:${port}`],
  ])("whose Host is %s", async (_, hostOf) => {
    const server = await serve();
    const host = hostOf(server.port);
    const page = await ask(server, "GET", "/", { host });
    expect(page).toMatchObject({ status: 421, headers: { "content-type": "text/plain; charset=utf-8" } });
    expect(page.body).toContain(`ssh -L ${server.port}:127.0.0.1:${server.port}`);
    const headers = { host, origin: `http://${host}`, ...JSON_TYPE };
    const body = JSON.stringify({ token: tokenOf(server) });
    expect(await ask(server, "POST", "/session", headers, body)).toMatchObject({ status: 421 });
    // the token is as good as before
    expect((await post(server, "/session", { token: tokenOf(server) })).status).toBe(200);
  });

  it.each<[name: string, headers: (port: number) => Headers]>([
    ["no Origin", () => ({})],
    ["the Origin of a page without one", () => ({ origin: "null" })],
    ["the Origin of another site", () => ({ origin: "https://evil.example" })],
    ["the Origin of another port of this address", (port) => ({ origin: `http://127.0.0.1:${port + 1}` })],
    ["the Origin of another name of this host", (port) => ({ origin: `http://localhost:${port}` })],
    ["our Origin by https", (port) => ({ origin: `https://127.0.0.1:${port}` })],
    [
      "word of another port's page",
      (port) => ({ origin: `http://127.0.0.1:${port}`, "sec-fetch-site": "same-site" }),
    ],
    [
      "word of another site's page",
      (port) => ({ origin: `http://127.0.0.1:${port}`, "sec-fetch-site": "cross-site" }),
    ],
  ])("that has %s", async (_, headersOf) => {
    const server = await serve();
    const session = await openSession(server);
    const headers = { host: `127.0.0.1:${server.port}`, ...JSON_TYPE, ...session, ...headersOf(server.port) };
    const answer = await ask(server, "POST", "/run", headers, JSON.stringify({ command: "version" }));
    expect(answer.status).toBe(403);
    expect(JSON.parse(answer.body)).toMatchObject({ refusal: "request" });
  });

  it.each(["cross-site", "same-site", "x", ""])("for a page, from a page that is %j", async (site) => {
    const server = await serve();
    const host = `127.0.0.1:${server.port}`;
    expect((await ask(server, "GET", "/", { host, "sec-fetch-site": site })).status).toBe(403);
    expect((await ask(server, "GET", "/app.js", { host, origin: "http://evil.example" })).status).toBe(403);
  });

  it.each([
    ["HEAD", "/"],
    ["POST", "/"],
    ["PUT", "/app.js"],
    ["OPTIONS", "/run"],
    ["GET", "/run"],
    ["GET", "/session"],
    ["DELETE", "/session"],
    ["TRACE", "/"],
  ])("by %s %s", async (method, path) => {
    const server = await serve();
    const host = `127.0.0.1:${server.port}`;
    const { status, headers } = await ask(server, method, path, {
      host,
      origin: `http://${host}`,
      ...JSON_TYPE,
    });
    expect(status).toBe(405);
    expect(headers["allow"]).toBe(path.length > 1 && path !== "/app.js" ? "POST" : "GET");
  });

  it.each([
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "",
    "application/jsonx",
  ])("of type %j, which a page of another site may send", async (type) => {
    const server = await serve();
    const session = await openSession(server);
    const answers = [
      await post(server, "/session", { token: tokenOf(server) }, { "content-type": type }),
      await post(server, "/run", { command: "version" }, { ...session, "content-type": type }),
    ];
    expect(answers.map(({ status }) => status)).toEqual([415, 415]);
  });

  it.each(["", "{", "null", "[]", "{}", '{"token":5}', '{"token":null}', '"token"', "\uFEFF{}", "{}{}"])(
    "for a session with %j",
    async (body) => {
      const answer = await post(await serve(), "/session", body);
      expect(answer.status).toBe(400);
      expect(((await answer.json()) as RefusalAnswer).refusal).toBe("request");
    },
  );
});

describe("a session", () => {
  it("is opened by the token once", async () => {
    const server = await serve();
    const first = await post(server, "/session", { token: tokenOf(server) });
    expect(first.status).toBe(200);
    expect(first.headers.get("set-cookie")).toMatch(
      new RegExp(`^luksmith-${server.port}=[\\w-]{43}; HttpOnly; SameSite=Strict; Path=/$`),
    );
    const second = await post(server, "/session", { token: tokenOf(server) });
    expect(second.status).toBe(403);
    expect(second.headers.get("set-cookie")).toBeNull();
    const { refusal, message } = (await second.json()) as RefusalAnswer;
    expect([refusal, message]).toEqual(["token", expect.stringContaining("works once")]);
  });

  it("of two who have the token, one gets it", async () => {
    const server = await serve();
    const answers = await Promise.all(
      Array.from({ length: 8 }, () => post(server, "/session", { token: tokenOf(server) })),
    );
    expect(answers.map(({ status }) => status).sort()).toEqual([200, ...Array<number>(7).fill(403)]);
  });

  it("is not opened by anything else", async () => {
    const server = await serve();
    const token = tokenOf(server);
    for (const wrong of ["", token.slice(1), `${token} `, token.toLowerCase()])
      expect((await post(server, "/session", { token: wrong })).status).toBe(403);
    expect((await post(server, "/session", { token })).status).toBe(200);
  });

  it("needs both of its secrets", async () => {
    const server = await serve();
    const { cookie, "luksmith-key": key } = await openSession(server);
    const value = cookie.split("=")[1]!;
    const status = async (headers: Record<string, string>) => {
      const answer = await post(server, "/run", { command: "version" }, headers);
      await answer.text();
      return answer.status;
    };
    for (const headers of [
      {},
      { cookie },
      { "luksmith-key": key },
      { cookie, "luksmith-key": "" },
      { cookie, "luksmith-key": value },
      { cookie: `${cookie}x`, "luksmith-key": key },
      { cookie: `luksmith-${server.port + 1}=${value}`, "luksmith-key": key },
      { cookie: cookie.toUpperCase(), "luksmith-key": key },
    ] as Record<string, string>[])
      expect(await status(headers), JSON.stringify(Object.keys(headers))).toBe(401);
    expect(await status({ cookie: `a=b; ${cookie}; luksmith-1=x`, "luksmith-key": key })).toBe(200);
  });

  it("is not lost by a cookie of its name that a page of another port has set", async () => {
    const server = await serve();
    const { cookie, ...key } = await openSession(server);
    const theirs = `luksmith-${server.port}=theirs`;
    for (const cookies of [
      `${theirs}; ${cookie}`,
      `${cookie}; ${theirs}`,
      `luksmith-${server.port}=; ${cookie}`,
    ])
      expect((await post(server, "/run", { command: "version" }, { ...key, cookie: cookies })).status).toBe(
        200,
      );
    const answer = await post(server, "/run", { command: "version" }, { ...key, cookie: theirs });
    expect(answer.status).toBe(401);
  });

  it("that nobody has opened runs nothing", async () => {
    const server = await serve();
    const answer = await post(server, "/run", { command: "version" }, { cookie: "", "luksmith-key": "" });
    expect(answer.status).toBe(401);
    expect(await answer.json()).toMatchObject({ refusal: "session" });
  });

  it("of another server is none here", async () => {
    const [one, other] = [await serve(), await serve()];
    const session = await openSession(one);
    await openSession(other);
    expect((await post(other, "/run", { command: "version" }, session)).status).toBe(401);
  });
});
