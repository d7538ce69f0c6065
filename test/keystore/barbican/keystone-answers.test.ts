import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { type LuksmithError, renderError } from "../../../src/error/luksmith-error.js";
import { ExecaCommandRunner } from "../../../src/exec/command-runner.js";
import { KeystoneAccess } from "../../../src/keystore/barbican/keystone-access.js";
import { Budget } from "../../../src/keystore/remote/budget.js";
import { temporaryDirectory } from "../../fs/tree.js";

/** What a real Keystone does not answer on request: a fake of those who stand in front of it, or in its place. */
async function fakeServer(
  answer: RequestListener,
): Promise<{ readonly url: string; readonly asked: string[] }> {
  const asked: string[] = [];
  const server = createServer((request, response) => {
    asked.push(`${request.method ?? ""} ${request.url ?? ""}`);
    request.resume().on("end", () => answer(request, response));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, asked };
}

function accessTo(url: string): KeystoneAccess {
  const passwordFile = join(temporaryDirectory(), "password");
  writeFileSync(passwordFile, "the password", { mode: 0o600 });
  const keystone = { method: "password", url, user: "luksmith", project: "vms", passwordFile } as const;
  const settings = { name: "cloud", type: "barbican", tls: {}, timeout: 8, keystone } as const;
  return new KeystoneAccess(settings, { runner: new ExecaCommandRunner() });
}

const HTML = { "content-type": "text/html" };
const JSON_TYPE = { "content-type": "application/json" };
const TOKEN = {
  issued_at: "2026-01-01T10:00:00.000000Z",
  expires_at: "2026-01-01T11:00:00.000000Z",
  project: { id: "1", name: "vms" },
  user: { name: "luksmith" },
  roles: [{ name: "creator" }],
  catalog: [],
};

describe("a login", () => {
  it.each<[string, string, RequestListener]>([
    ["a login page", "ANSWER_INVALID", (_, response) => response.writeHead(200, HTML).end("<html>")],
    ["401 of a proxy", "ANSWER_INVALID", (_, response) => response.writeHead(401, HTML).end("<html>")],
    ["403 of a proxy", "ANSWER_INVALID", (_, response) => response.writeHead(403, HTML).end("<html>")],
    ["404 as HTML", "ANSWER_INVALID", (_, response) => response.writeHead(404, HTML).end("<html>")],
    [
      "403 of Keystone",
      "FORBIDDEN",
      (_, response) => response.writeHead(403, JSON_TYPE).end('{"error":{"code":403,"message":"no"}}'),
    ],
    [
      "404 of another service",
      "ANSWER_INVALID",
      (_, response) => response.writeHead(404, JSON_TYPE).end('{"code":404,"title":"Not Found"}'),
    ],
    ["300", "ANSWER_INVALID", (_, response) => response.writeHead(300, JSON_TYPE).end('{"versions":[]}')],
    ["503 as HTML", "UNAVAILABLE", (_, response) => response.writeHead(503, HTML).end("<html>")],
    ["500", "UNAVAILABLE", (_, response) => response.writeHead(500).end()],
    ["429", "UNAVAILABLE", (_, response) => response.writeHead(429).end()],
    ["201 without a token", "ANSWER_INVALID", answerOf(TOKEN, "none")],
    ["a token that would break a header", "ANSWER_INVALID", answerOf(TOKEN, "two words")],
    ["a token without a body", "ANSWER_INVALID", answerOf(undefined)],
    ["a lifetime that is none", "ANSWER_INVALID", answerOf({ ...TOKEN, expires_at: "tomorrow" })],
    [
      "an end before the beginning",
      "ANSWER_INVALID",
      answerOf({ ...TOKEN, expires_at: "2025-01-01T00:00:00Z" }),
    ],
    ["a token for no project", "AUTH_FAILED", answerOf({ ...TOKEN, project: undefined })],
    [
      "JSON that is cut short",
      "ANSWER_INVALID",
      (_, response) => response.writeHead(201, { ...JSON_TYPE, "x-subject-token": "t" }).end('{"token":{'),
    ],
  ])("that is answered with %s fails with KEYSTORE_%s", async (_, code, answer) => {
    const { url, asked } = await fakeServer(answer);
    const error = await failure(accessTo(url).headers(new Budget(5000)));
    expect(error.code).toBe(`KEYSTORE_${code}`);
    expect(error.why).toContain(`Keystone at ${url}`);
    expect(renderError(error)).not.toContain("the password");
    // a server that is starting gets another chance
    expect(asked).toHaveLength(code === "UNAVAILABLE" ? 3 : 1);
  });

  it.each([301, 302, 307, 308])("goes nowhere else when it is answered with %i", async (status) => {
    const other = await fakeServer((_, response) => response.end());
    const { url } = await fakeServer((_, response) =>
      response.writeHead(status, { location: `${other.url}/v3/auth/tokens` }).end(),
    );
    const error = await failure(accessTo(url).headers(new Budget(5000)));
    expect(error).toMatchObject({ code: "KEYSTORE_ANSWER_INVALID" });
    expect(error.why).toContain(other.url);
    expect(other.asked).toEqual([]);
  });

  it("is tried again when the server was only starting", async () => {
    let count = 0;
    const { url } = await fakeServer((request, response) =>
      count++ === 0 ? response.writeHead(503, HTML).end("<html>") : answerOf(TOKEN)(request, response),
    );
    expect(await accessTo(url).headers(new Budget(5000))).toEqual({ "x-auth-token": "the-token" });
  });

  it.each(["/identity", "/identity/", "/identity/v3"])(
    "finds a Keystone that has the path %s",
    async (path) => {
      const { url, asked } = await fakeServer(answerOf(TOKEN));
      await accessTo(`${url}${path}`).headers(new Budget(5000));
      expect(asked).toEqual(["POST /identity/v3/auth/tokens"]);
    },
  );

  it("shows nothing of what stands in the answer but its words", async () => {
    const message = `\u001b[31m${"x".repeat(500)}`;
    const { url } = await fakeServer((_, response) =>
      response.writeHead(401, JSON_TYPE).end(JSON.stringify({ error: { message } })),
    );
    const { why = "" } = await failure(accessTo(url).headers(new Budget(5000)));
    expect(why).not.toContain("\u001b");
    expect(why.length).toBeLessThan(300);
  });
});

function answerOf(token: object | undefined, text = "the-token"): RequestListener {
  return (_, response) =>
    response
      .writeHead(201, { ...JSON_TYPE, ...(text !== "none" && { "x-subject-token": text }) })
      .end(JSON.stringify({ token }));
}

async function failure(promise: Promise<unknown>): Promise<LuksmithError> {
  return promise.then(
    () => expect.unreachable("it did not fail"),
    (thrown: unknown) => thrown as LuksmithError,
  );
}

describe("Keystone's address", () => {
  it("may have no TLS on this machine only", () => {
    expect(() => accessTo("http://keystone.example:5000/v3")).toThrow(
      expect.objectContaining({ code: "SETTINGS_INVALID" }),
    );
  });
});
