import { once } from "node:events";
import { existsSync, writeFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { appears, connectTo, linesOf, newPath, openSession, post, serve, talk, tokenOf } from "./world.js";

const hostOf = ({ port }: { readonly port: number }) => `Host: 127.0.0.1:${port}\r\n`;
const statusOf = (answer: string) => answer.split("\r\n")[0];
const statusesOf = (answers: string) => [...answers.matchAll(/^HTTP\/1\.1 (\d+)/gm)].map(([, code]) => code);
const CLOSE = "Connection: close\r\n";

describe("on the wire", () => {
  it.each<[what: string, request: (host: string) => string, code: string]>([
    ["no Host", () => `GET / HTTP/1.1\r\n${CLOSE}\r\n`, "400"],
    ["an empty Host", () => `GET / HTTP/1.1\r\nHost:\r\n${CLOSE}\r\n`, "421"],
    ["no Host in HTTP/1.0", () => "GET / HTTP/1.0\r\n\r\n", "421"],
    ["two Hosts, ours first", (host) => `GET / HTTP/1.1\r\n${host}Host: evil.example\r\n${CLOSE}\r\n`, "400"],
    ["two Hosts, ours last", (host) => `GET / HTTP/1.1\r\nHost: evil.example\r\n${host}${CLOSE}\r\n`, "400"],
    [
      "an address of another site",
      (host) => `GET http://evil.example/ HTTP/1.1\r\n${host}${CLOSE}\r\n`,
      "404",
    ],
    ["a path out of the folder", (host) => `GET /../../etc/passwd HTTP/1.1\r\n${host}${CLOSE}\r\n`, "404"],
    ["a path with an escaped zero", (host) => `GET /app.js%00.html HTTP/1.1\r\n${host}${CLOSE}\r\n`, "404"],
    ["a tunnel", (host) => `CONNECT 127.0.0.1:22 HTTP/1.1\r\n${host}\r\n`, ""],
    ["something that is not HTTP", () => "hello\r\n\r\n", "400"],
    ["TLS", () => "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "400"],
    ["a header of 100 KiB", (host) => `GET / HTTP/1.1\r\n${host}X: ${"x".repeat(100_000)}\r\n\r\n`, "431"],
    [
      "both lengths",
      (host) => `POST /run HTTP/1.1\r\n${host}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n`,
      "400",
    ],
  ])("%s is refused", async (_, request, code) => {
    const server = await serve();
    const answer = await talk(server, request(hostOf(server)));
    expect(statusOf(answer)?.split(" ")[1] ?? "").toBe(code);
  });

  it("a second request behind a body that was refused is one of its own", async () => {
    const server = await serve();
    const head = `POST /run HTTP/1.1\r\n${hostOf(server)}Origin: http://127.0.0.1:${server.port}\r\n`;
    const inner = `GET / HTTP/1.1\r\n${hostOf(server)}\r\n`;
    const answers = await talk(
      server,
      `${head}Content-Length: ${inner.length}\r\n\r\n${inner}GET /nothing HTTP/1.1\r\n${hostOf(server)}${CLOSE}\r\n`,
    );
    expect(statusesOf(answers)).toEqual(["401", "404"]);
  });

  it("two keys are none", async () => {
    const server = await serve();
    const { cookie, "luksmith-key": key } = await openSession(server);
    const body = JSON.stringify({ command: "version" });
    const call = (headers: string) =>
      talk(
        server,
        `POST /run HTTP/1.1\r\n${hostOf(server)}Origin: http://127.0.0.1:${server.port}\r\nCookie: ${cookie}\r\n${headers}`,
        `Content-Type: application/json\r\n${CLOSE}Content-Length: ${body.length}\r\n\r\n${body}`,
      );
    expect(statusOf(await call(`Luksmith-Key: ${key}\r\nLuksmith-Key: x\r\n`))).toContain("400");
    expect(statusOf(await call(`Luksmith-Key: ${key}\r\n`))).toContain("200");
  });
});

describe("whoever is slow", () => {
  it.each<[what: string, parts: (host: string, origin: string) => string[]]>([
    ["with the request", () => ["GET"]],
    ["with the headers", (host) => [`GET / HTTP/1.1\r\n${host}`, "X: y\r\n"]],
    [
      "with the body",
      (host, origin) => [
        `POST /session HTTP/1.1\r\n${host}Origin: ${origin}\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n`,
        "{",
      ],
    ],
  ])("%s is hung up on", async (_, parts) => {
    const server = await serve({ request: 200 });
    const answer = await talk(server, ...parts(hostOf(server), `http://127.0.0.1:${server.port}`));
    expect(statusOf(answer)).toBe("HTTP/1.1 408 Request Timeout");
  });

  it("does not keep others waiting", async () => {
    const server = await serve();
    const slow = Array.from({ length: 40 }, () => connectTo(server));
    for (const socket of slow) socket.write(`POST /session HTTP/1.1\r\n${hostOf(server)}Content-Le`);
    try {
      expect((await post(server, "/session", { token: tokenOf(server) })).status).toBe(200);
    } finally {
      for (const socket of slow) socket.destroy();
    }
  });
});

describe("of very many connections", () => {
  /** Other users of the host, who say nothing. */
  async function strangers(server: { readonly port: number }, count: number) {
    const sockets = Array.from({ length: count }, () => connectTo(server));
    await Promise.all(sockets.map((socket) => once(socket, "connect")));
    return {
      isOpen: sockets.map((socket) => () => !socket.closed),
      [Symbol.dispose]: () => {
        for (const socket of sockets) socket.destroy();
      },
    };
  }

  it("those who have shown no session make room, the oldest first", async () => {
    const server = await serve();
    using first = await strangers(server, 64);
    using last = await strangers(server, 30);
    const session = await openSession(server);
    expect((await post(server, "/run", { command: "version" }, session)).status).toBe(200);
    await expect.poll(() => first.isOpen.filter((isOpen) => isOpen()).length).toBeLessThan(64 - 29);
    expect(last.isOpen.every((isOpen) => isOpen())).toBe(true);
  });

  it("the one that has shown it stays", async () => {
    const server = await serve();
    const session = await openSession(server);
    const until = newPath("until");
    const settings = { until, began: newPath("began") };
    const answer = post(server, "/run", { command: "settings-preview", settings }, session);
    await appears(settings.began);
    using first = await strangers(server, 200);
    await expect.poll(() => first.isOpen.filter((isOpen) => isOpen()).length).toBeLessThan(64);
    writeFileSync(until, "");
    expect((await linesOf(await answer)).at(-1)).toEqual({ exit: 0, stderr: "" });
  });
});

describe("what is too large", () => {
  it("is refused before it is looked at, and the browser hears it", async () => {
    const server = await serve();
    const session = await openSession(server);
    const began = newPath("began");
    const settings = { began, text: "x".repeat(1.5 * 1024 * 1024) };
    const answer = await post(server, "/run", { command: "settings-preview", settings }, session);
    expect(answer.status).toBe(413);
    expect(await answer.json()).toMatchObject({ refusal: "request" });
    expect(existsSync(began)).toBe(false);
  });

  it("is refused also where its length is not told", async () => {
    const server = await serve();
    const head = `POST /session HTTP/1.1\r\n${hostOf(server)}Origin: http://127.0.0.1:${server.port}\r\n${CLOSE}`;
    const chunk = `400\r\n${"x".repeat(1024)}\r\n`;
    const answer = await talk(
      server,
      `${head}Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n${chunk}${chunk}0\r\n\r\n`,
    );
    expect(statusOf(answer)).toContain("413");
  });

  it("is not, where settings are as large as they may be", async () => {
    const server = await serve();
    const session = await openSession(server);
    const settings = { text: "x".repeat(1024 * 1024) };
    const answer = await post(server, "/run", { command: "settings-preview", settings }, session);
    expect(answer.status).toBe(200);
    expect(await answer.text()).toContain('{"exit":0,');
  });

  it("may be deep: the server lives on", async () => {
    const server = await serve();
    const session = await openSession(server);
    const depth = 500_000;
    const body = `{"command":"settings-preview","settings":{"a":${"[".repeat(depth)}${"]".repeat(depth)}}}`;
    const answer = await post(server, "/run", body, session);
    expect(answer.status).toBe(500);
    expect((await post(server, "/run", { command: "version" }, session)).status).toBe(200);
  });
});
