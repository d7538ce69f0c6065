import { writeFileSync } from "node:fs";
import { afterEach, expect, it, vi } from "vitest";
import {
  appears,
  callAndStay,
  linesOf,
  newPath,
  openSession,
  originOf,
  post,
  serve,
  tokenOf,
} from "./world.js";

afterEach(() => {
  vi.useRealTimers();
});

const isGone = (server: { readonly port: number }) =>
  fetch(originOf(server)).then(
    () => false,
    () => true,
  );

it("ends when nobody opens the page", async () => {
  const server = await serve({ token: 50 });
  expect(await server.ended).toBe("unopened");
  expect(await isGone(server)).toBe(true);
});

it("does not wait for requests of others", async () => {
  const server = await serve({ token: 200 });
  const others = setInterval(() => void fetch(originOf(server)).catch(() => undefined), 20);
  try {
    expect(await server.ended).toBe("unopened");
  } finally {
    clearInterval(others);
  }
});

it("ends when the page that was opened is not used", async () => {
  const server = await serve({ idle: 50 });
  await openSession(server);
  expect(await server.ended).toBe("idle");
  expect(await isGone(server)).toBe(true);
});

it("stays while a command runs that nobody listens to, and ends after it", async () => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  const server = await serve({ idle: 1000 });
  const session = await openSession(server);
  const [began, until] = [newPath("began"), newPath("until")];
  const leave = await callAndStay(server, session, { began, until });
  await appears(began);
  leave();
  vi.advanceTimersByTime(100_000);
  const answer = await post(server, "/run", { command: "version" }, session);
  expect((await linesOf(answer)).at(-1)).toEqual({ exit: 0, stderr: "" });
  vi.advanceTimersByTime(100_000);
  expect(await isGone(server)).toBe(false);
  writeFileSync(until, "");
  while (server.running.length > 0) await new Promise(setImmediate);
  await vi.advanceTimersByTimeAsync(1000);
  expect(await server.ended).toBe("idle");
});

it("does not end when somebody tries tokens, and lets in who has the right one", async () => {
  const server = await serve();
  const answers = await Promise.all(
    Array.from({ length: 100 }, (_, n) => post(server, "/session", { token: `${n}` })),
  );
  expect(answers.map(({ status }) => status)).toEqual(Array(100).fill(403));
  const { status } = await post(server, "/session", { token: tokenOf(server) });
  expect(status).toBe(200);
});

it("that is asked to end finishes what runs, tells the page, and starts nothing more", async () => {
  const server = await serve();
  const session = await openSession(server);
  const [began, until, done] = [newPath("began"), newPath("until"), newPath("done")];
  const answer = post(
    server,
    "/run",
    { command: "settings-preview", settings: { began, until, done } },
    session,
  );
  await appears(began);
  server.end();
  const refused = await post(server, "/run", { command: "version" }, session);
  expect(refused.status).toBe(503);
  expect(await refused.json()).toMatchObject({ refusal: "busy" });
  writeFileSync(until, "");
  expect((await linesOf(await answer)).at(-1)).toEqual({ exit: 0, stderr: "" });
  expect(await server.ended).toBe("asked");
  await appears(done);
});

it("does not wait for a browser that takes nothing of its answer", async () => {
  const server = await serve();
  const session = await openSession(server);
  const done = newPath("done");
  await callAndStay(server, session, { done, say: ["x".repeat(1000)], times: 30_000 });
  await appears(done);
  server.end();
  expect(await server.ended).toBe("asked");
});

it("ends once, however often it is asked", async () => {
  const server = await serve();
  server.end();
  server.end("idle");
  expect(await server.ended).toBe("asked");
  expect(tokenOf(server)).toHaveLength(43);
});
