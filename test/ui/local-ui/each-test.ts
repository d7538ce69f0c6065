import type { BrowserContextOptions, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, expect } from "vitest";
import { hostForThisFile } from "../../e2e/support/each-test.js";
import type { LuksmithHost } from "../../e2e/support/luksmith-host.js";
import { type Browser, startBrowser, type Visitor } from "../../lab/browser.js";
import { type LocalServer, startLocalServer } from "./local-server.js";

/** Milliseconds that a page has for what a person would wait for. */
const PATIENCE = 20_000;

export interface LocalUi {
  readonly host: LuksmithHost;
  readonly browser: Browser;
  /** Ended after the test, if not before. */
  serve(...options: readonly string[]): Promise<LocalServer>;
  /** Somebody whose page may cause no complaint: looked at after the test. */
  visitor(options?: BrowserContextOptions): Promise<Visitor>;
  /** The page of a server of its own, opened by the address that it prints. */
  open(options?: BrowserContextOptions): Promise<Page>;
}

/** A host and Chromium for all tests of a file; servers and visitors for one test each. */
export function localUiForThisFile(): () => LocalUi {
  const host = hostForThisFile();
  let browser: Browser | undefined;
  const servers: LocalServer[] = [];
  const visitors: Visitor[] = [];
  beforeAll(async () => {
    browser = await startBrowser();
  });
  afterEach(async () => {
    const complaints = visitors.flatMap((visitor) => visitor.complaints);
    for (const opened of [...visitors.splice(0), ...servers.splice(0)]) await opened[Symbol.asyncDispose]();
    expect(complaints).toEqual([]);
  });
  afterAll(async () => {
    await browser?.[Symbol.asyncDispose]();
  });

  async function serve(...options: readonly string[]): Promise<LocalServer> {
    const server = await startLocalServer(host(), ...options);
    servers.push(server);
    return server;
  }

  async function visit(chromium: Browser, options?: BrowserContextOptions): Promise<Visitor> {
    const visitor = await chromium.visitor(options);
    visitor.page.setDefaultTimeout(PATIENCE);
    visitors.push(visitor);
    return visitor;
  }

  return () => {
    if (browser === undefined) throw new Error("Chromium has not started");
    const chromium = browser;
    return {
      host: host(),
      browser: chromium,
      serve,
      visitor: (options) => visit(chromium, options),
      async open(options) {
        const [{ address }, { page }] = await Promise.all([serve(), visit(chromium, options)]);
        await page.goto(address);
        return page;
      },
    };
  };
}
