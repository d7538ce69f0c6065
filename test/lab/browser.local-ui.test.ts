import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { type Browser, startBrowser } from "./browser.js";
import { until } from "./guarded-daemon.js";
import { accessibilityProblems, screenshot } from "./page-checks.js";

let browser: Browser;
let server: Server;
let address: string;
const SOUND = "<main><h1>Sound</h1></main>";
let html = SOUND;

beforeAll(async () => {
  server = createServer((request, response) => {
    if (request.url !== "/") response.statusCode = 404;
    response.setHeader("Content-Type", "text/html");
    response.setHeader("Content-Security-Policy", "default-src 'self'; img-src * data:");
    response.end(`<!doctype html><html lang="en"><title>Test</title><link rel="icon" href="data:,">${html}`);
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  address = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  browser = await startBrowser();
});

afterAll(async () => {
  await browser[Symbol.asyncDispose]();
  server.close();
});

async function visit(content: string, wanted: number): Promise<string> {
  html = content;
  await using visitor = await browser.visitor();
  await visitor.page.goto(address);
  await until(() => {
    if (visitor.complaints.length < wanted) throw new Error("not yet");
  });
  return visitor.complaints.join("\n");
}

describe("what pages do wrong is seen", () => {
  it("says nothing of a page that does nothing wrong", async () => {
    expect(await visit(SOUND, 0)).toBe("");
  });

  it("sees a violation of the content security policy", async () => {
    expect(await visit(`${SOUND}<script>alert(1)</script>`, 1)).toMatch(
      /^console: .*Content Security Policy/,
    );
    expect(await visit(`${SOUND}<p style="color: red">`, 1)).toMatch(/^console: .*Content Security Policy/);
  });

  it("sees a file that is missing", async () => {
    expect(await visit(`${SOUND}<img alt="" src="/missing.png">`, 1)).toMatch(
      /^console: .*404.*missing\.png/,
    );
  });

  it("sees a request that leaves the machine, which it does not", async () => {
    expect(
      await visit(`${SOUND}<img alt="" src="http://192.0.2.1/x"><img alt="" src="http://a.test/">`, 4),
    ).toMatch(/^request: http:\/\/a\.test\/$/m);
  });

  it("sees an exception", async () => {
    html = SOUND;
    await using visitor = await browser.visitor();
    await visitor.page.goto(address);
    await visitor.page.evaluate(() => {
      setTimeout(() => {
        throw new Error("oops");
      });
    });
    await until(() => {
      expect(visitor.complaints).toEqual([expect.stringMatching(/^exception: oops/)]);
    });
  });

  it("sees what axe-core has against a page, whatever its policy", async () => {
    html = `${SOUND}<main><input></main>`;
    await using visitor = await browser.visitor();
    await visitor.page.goto(address);
    expect((await accessibilityProblems(visitor.page)).join("\n")).toMatch(/^label: .*: input$/m);
    html = SOUND;
    await visitor.page.goto(address);
    expect(await accessibilityProblems(visitor.page)).toEqual([]);
    expect(visitor.complaints).toEqual([]);
  });
});

it("takes pictures", async () => {
  await using visitor = await browser.visitor({ viewport: { width: 360, height: 640 } });
  await visitor.page.goto(address);
  const image = await screenshot(visitor.page, "browser");
  expect([image.readUInt32BE(16), image.readUInt32BE(20)]).toEqual([360, 640]);
});

it("ends with the process that started it, and leaves nothing", async () => {
  const directory = mkdtempSync(join(tmpdir(), "luksmith-test-"));
  onTestFinished(() => {
    rmSync(directory, { recursive: true });
  });
  const module = fileURLToPath(new URL("browser.ts", import.meta.url));
  const script = `const { startBrowser } = await import(${JSON.stringify(module)});
    await (await startBrowser()).visitor(); console.log("ready"); setInterval(() => {}, 1000);`;
  const child = spawn(process.execPath, ["--import", "tsx", "--input-type=module", "--eval", script], {
    env: { ...process.env, TMPDIR: directory },
    stdio: ["ignore", "pipe", "inherit"],
  });
  await once(child.stdout, "data");
  const left = () => readdirSync(directory).filter((name) => !name.startsWith("tsx-"));
  expect(left()).toEqual([expect.stringMatching(/^luksmith-browser-/)]);
  child.kill("SIGKILL");
  await until(() => {
    expect(left()).toEqual([]);
  }, 30);
});
