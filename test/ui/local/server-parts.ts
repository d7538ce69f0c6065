import { resolve } from "node:path";

export const FAKE_ENGINE = resolve("test/ui/local/fake-engine.mjs");
export const PAGES = new Map([
  ["/", { type: "text/html; charset=utf-8", content: Buffer.from("<title>Luksmith</title>") }],
  ["/app.js", { type: "text/javascript; charset=utf-8", content: Buffer.from("") }],
]);
/** Milliseconds: longer than any test. */
export const LONG = 600_000;
