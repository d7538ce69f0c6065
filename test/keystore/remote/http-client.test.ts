import { execa } from "execa";
import { once } from "node:events";
import { createServer, type RequestListener, type Server as HttpServer } from "node:http";
import { type AddressInfo, createServer as createTcpServer, type Server, type Socket } from "node:net";
import { setTimeout } from "node:timers/promises";
import { afterEach, describe, expect, it, vi } from "vitest";
import { Budget } from "../../../src/keystore/remote/budget.js";
import { HttpClient, type HttpRequest } from "../../../src/keystore/remote/http-client.js";

const servers: Server[] = [];
const sockets = new Set<Socket>();
afterEach(() => {
  vi.unstubAllEnvs();
  for (const socket of sockets) socket.destroy();
  for (const server of servers.splice(0)) server.close();
});

async function listen(server: Server): Promise<HttpClient> {
  servers.push(server);
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
    socket.on("close", () => sockets.delete(socket));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return new HttpClient("vault1", `http://127.0.0.1:${(server.address() as AddressInfo).port}`, {});
}

const http = (listener: RequestListener): Promise<HttpClient> => listen(createServer(listener));
/** A server that speaks by itself: `say` gets the socket when the head of a request has come. */
const raw = (say: (socket: Socket, count: number) => void): Promise<HttpClient> => {
  let count = 0;
  return listen(createTcpServer((socket) => socket.on("data", () => say(socket, ++count))));
};
const get = (client: HttpClient, change: Partial<HttpRequest> = {}, milliseconds = 10_000) =>
  client.send({ method: "GET", path: "/v1/x", ...change }, new Budget(milliseconds));
const OK = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

describe("a request over HTTP", () => {
  it("brings method, path, headers and body, and the answer whatever its status", async () => {
    const client = await http((request, response) => {
      request.setEncoding("utf8").on("data", (body) => {
        response.writeHead(418, { "x-answer": "yes" });
        response.end(`${request.method} ${request.url} ${String(request.headers["x-ask"])} ${body}`);
      });
    });
    const request = {
      method: "POST",
      path: "/a/b?c=d",
      headers: { "x-ask": "why" },
      body: Buffer.from("§"),
    } as const;
    const { status, headers, body } = await client.send(request, new Budget(10_000));
    expect([status, headers["x-answer"], String(body)]).toEqual([418, "yes", "POST /a/b?c=d why §"]);
    expect(String(request.body)).toBe("§");
  });

  it("gets answers in pieces, chunked, and without a body", async () => {
    const client = await http((request, response) => {
      if (request.url === "/none") response.writeHead(204).end();
      else if (request.url === "/chunked") void setTimeout(20).then(() => response.end("second"));
      if (request.url === "/chunked") response.write("first,");
    });
    expect(String((await get(client, { path: "/chunked" })).body)).toBe("first,second");
    expect((await get(client, { path: "/none" })).body).toHaveLength(0);
  });

  it("goes nowhere else: to no redirection, and to no other address", async () => {
    let visits = 0;
    const other = await http((_, response) => response.end(String(++visits)));
    const client = await http((_, response) =>
      response.writeHead(302, { location: `${other.place.address}/stolen` }).end(),
    );
    expect(await get(client)).toMatchObject({ status: 302 });
    await expect(get(client, { path: `${other.place.address}/v1/x` })).rejects.toMatchObject({
      code: "KEYSTORE_ANSWER_INVALID",
    });
    await expect(get(client, { path: "//127.0.0.2/v1/x" })).rejects.toMatchObject({
      code: "KEYSTORE_ANSWER_INVALID",
    });
    expect(visits).toBe(0);
  });

  it.each(["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "ALL_PROXY"])(
    "ignores %s",
    async (name) => {
      vi.stubEnv(name, "http://127.0.0.1:9");
      vi.stubEnv("NODE_USE_ENV_PROXY", "1");
      expect(await get(await http((_, response) => response.end()))).toMatchObject({ status: 200 });
    },
  );

  it.each(["http://192.0.2.1:8200", "http://vault.example", "http://localhost.example"])(
    "is not sent to %s, which is another machine",
    (url) => {
      expect(() => new HttpClient("vault1", url, {})).toThrow(
        expect.objectContaining({ code: "SETTINGS_INVALID" }),
      );
    },
  );

  it.each(["http://localhost:1", "http://127.0.0.1:1", "http://[::1]:1", "https://vault.example"])(
    "may be sent to %s",
    (url) => {
      expect(new HttpClient("vault1", url, {}).place.address).toBe(url);
    },
  );

  it("uses 16 connections at most, and keeps them", async () => {
    let connections = 0;
    const server: HttpServer = createServer((_, response) => void setTimeout(5).then(() => response.end()));
    server.on("connection", () => connections++);
    const client = await listen(server);
    const budget = new Budget(10_000);
    for (let round = 0; round < 2; round++) {
      await Promise.all(Array.from({ length: 100 }, () => client.send({ method: "GET", path: "/" }, budget)));
    }
    expect(connections).toBe(16);
  });

  it("warns nobody of many requests with one budget", async () => {
    const warnings: unknown[] = [];
    process.on("warning", (warning) => warnings.push(warning));
    const client = await http((_, response) => response.end());
    const budget = new Budget(10_000);
    await Promise.all(Array.from({ length: 50 }, () => client.send({ method: "GET", path: "/" }, budget)));
    await setTimeout(10);
    expect(warnings).toEqual([]);
  });

  it("does not keep the process from ending", async () => {
    const client = await http((_, response) => response.end());
    const program = `
      import { HttpClient } from "./src/keystore/remote/http-client.ts";
      import { Budget } from "./src/keystore/remote/budget.ts";
      const client = new HttpClient("vault1", ${JSON.stringify(client.place.address)}, {});
      await client.send({ method: "GET", path: "/" }, new Budget(60_000));
      console.log("answered");`;
    const { stdout } = await execa(
      process.execPath,
      ["--import", "tsx", "--input-type", "module", "--eval", program],
      { timeout: 30_000 },
    );
    expect(stdout).toBe("answered");
  });
});

describe("an answer that does not come, or not as it should", () => {
  it("is not waited for longer than the budget: no head, half a head, half a body", async () => {
    for (const said of [
      "",
      "HTTP/1.1 200 OK\r\ncontent-",
      "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf",
    ]) {
      const client = await raw((socket) => socket.write(said));
      const start = performance.now();
      await expect(get(client, {}, 300)).rejects.toMatchObject({
        code: "KEYSTORE_UNAVAILABLE",
        why: expect.stringContaining("did not answer in time") as string,
      });
      expect(performance.now() - start).toBeLessThan(2000);
    }
  });

  it("is not waited for where head or body come byte by byte", async () => {
    const client = await raw((socket) => {
      const drip = setInterval(() => socket.write("x"), 50);
      socket.on("close", () => clearInterval(drip)).write("HTTP/1.1 200 OK\r\nx-long: ");
    });
    await expect(get(client, {}, 400)).rejects.toMatchObject({ code: "KEYSTORE_UNAVAILABLE" });
  });

  it.each<[string, string]>([
    ["before it", ""],
    ["in its head", "HTTP/1.1 200 O"],
    ["in its body", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf"],
    ["in a chunk", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nhalf"],
    ["between chunks", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n"],
  ])("is asked for again when the connection ends %s, and three times at most", async (_, said) => {
    for (const end of ["resetAndDestroy", "end"] as const) {
      let attempts = 0;
      const mended = await raw((socket, count) => {
        attempts++;
        if (count > 2) socket.end(OK);
        else socket.write(said, () => socket[end]());
      });
      expect(String((await get(mended)).body)).toBe("ok");
      expect(attempts).toBe(3);
      const broken = await raw((socket) => socket.write(said, () => socket[end]()));
      await expect(get(broken)).rejects.toMatchObject({ code: "KEYSTORE_UNAVAILABLE" });
    }
  });

  it("is asked for again when a kept connection turns out to be closed", async () => {
    const client = await raw((socket, count) => {
      if (count === 2) socket.resetAndDestroy();
      else socket.write(OK);
    });
    for (let round = 0; round < 2; round++) expect(String((await get(client)).body)).toBe("ok");
  });

  it("is not asked for again where the request may have been done", async () => {
    let posts = 0;
    const client = await raw((socket) => {
      posts++;
      socket.resetAndDestroy();
    });
    for (const method of ["POST", "PUT", "PATCH", "DELETE"] as const) {
      posts = 0;
      await expect(get(client, { method })).rejects.toMatchObject({ code: "KEYSTORE_UNAVAILABLE" });
      expect(posts).toBe(1);
      await expect(get(client, { method, manner: "repeatable" })).rejects.toThrow();
      expect(posts).toBe(4);
    }
  });

  it("does not fail a write because a kept connection is closed: it has one of its own", async () => {
    const seen: string[] = [];
    let isFirst = true;
    const server = createTcpServer((socket) => {
      const isKept = isFirst;
      isFirst = false;
      socket.on("data", (bytes) => {
        seen.push(`${String(bytes).split(" ")[0]} ${isKept ? "kept" : "fresh"}`);
        if (isKept && seen.length > 1) socket.resetAndDestroy();
        else socket.write(OK);
      });
    });
    const client = await listen(server);
    await get(client);
    expect(String((await get(client, { method: "POST" })).body)).toBe("ok");
    expect(seen).toEqual(["GET kept", "POST fresh"]);
  });

  it.each<[string, string]>([
    ["another protocol", "SSH-2.0-OpenSSH_9.2\r\n"],
    ["a head without an end", `HTTP/1.1 200 OK\r\nx-long: ${"x".repeat(100_000)}\r\n\r\n`],
    ["two lengths", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok"],
    ["a bad chunk", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"],
  ])("is not believed when it is %s, and not asked for again", async (_, said) => {
    let attempts = 0;
    const client = await raw((socket) => {
      attempts++;
      socket.write(said);
    });
    await expect(get(client)).rejects.toMatchObject({ code: "KEYSTORE_ANSWER_INVALID" });
    expect(attempts).toBe(1);
  });

  it("is refused where the server changes to another protocol", async () => {
    const switching = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: foo\r\n\r\n";
    const client = await raw((socket) => socket.end(switching));
    await expect(get(client)).rejects.toMatchObject({ code: "KEYSTORE_ANSWER_INVALID" });
    await expect(get(client, { method: "POST" })).rejects.toMatchObject({ code: "KEYSTORE_ANSWER_INVALID" });
  });

  it("is not read beyond 4 MiB", async () => {
    let attempts = 0;
    const client = await http((request, response) => {
      attempts++;
      const size = request.url === "/fits" ? 4 * 1024 * 1024 : 4 * 1024 * 1024 + 1;
      response.end(Buffer.alloc(size));
    });
    expect((await get(client, { path: "/fits" })).body).toHaveLength(4 * 1024 * 1024);
    await expect(get(client)).rejects.toMatchObject({ code: "KEYSTORE_ANSWER_INVALID" });
    expect(attempts).toBe(2);
    expect((await get(client, { path: "/fits" })).status).toBe(200);
  });

  it("is refused by nobody", async () => {
    const client = await http(() => undefined);
    const [server] = servers;
    server!.close();
    await expect(get(client)).rejects.toMatchObject({
      code: "KEYSTORE_UNAVAILABLE",
      why: expect.stringContaining("nothing listens there") as string,
    });
  });
});
