import type { BrowserContextOptions, Frame, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, expect } from "vitest";
import { hostForThisFile } from "../../e2e/support/each-test.js";
import type { LuksmithHost } from "../../e2e/support/luksmith-host.js";
import { type Browser, startBrowser } from "../../lab/browser.js";
import { startCockpit } from "../../lab/cockpit-server.js";

/** Milliseconds that a page has for what a person would wait for. */
const PATIENCE = 20_000;
const FRAME = 'iframe[name="cockpit1:localhost/luksmith"]';

/** Files of Cockpit's other pages: version 337 asks for fonts that Debian's package does not have. */
const COCKPITS_OWN = /^console: .* \(http:\/\/[^/]+\/cockpit\/[^/]+\/(?!luksmith\/)[^)]*\)$/;

/** Our page, in Cockpit's. */
export interface CockpitVisit {
  readonly page: Page;
  readonly frame: Frame;
}

export interface CockpitLab {
  readonly host: LuksmithHost;
  /** Cockpit's own page, for a visitor whose pages may cause no complaint: looked at after the test. */
  visit(user: "root" | "nobody", options?: BrowserContextOptions): Promise<Page>;
  /** Our page, as Cockpit's menu leads there. */
  open(user: "root" | "nobody", options?: BrowserContextOptions): Promise<CockpitVisit>;
}

/** A host and Chromium for all tests of a file; a Cockpit for each visitor. */
export function cockpitForThisFile(): () => CockpitLab {
  const host = hostForThisFile();
  let browser: Browser | undefined;
  const opened: AsyncDisposable[] = [];
  const complaints: (readonly string[])[] = [];
  beforeAll(async () => {
    browser = await startBrowser();
  });
  afterEach(async () => {
    const heard = complaints.splice(0).flat();
    for (const resource of opened.splice(0).reverse()) await resource[Symbol.asyncDispose]();
    expect(heard.filter((complaint) => !COCKPITS_OWN.test(complaint))).toEqual([]);
  });
  afterAll(async () => {
    await browser?.[Symbol.asyncDispose]();
  });

  return () => {
    if (browser === undefined) throw new Error("Chromium has not started");
    const chromium = browser;

    async function visit(user: "root" | "nobody", options?: BrowserContextOptions): Promise<Page> {
      const cockpit = await startCockpit(host().libvirt, user);
      opened.push(cockpit);
      const visitor = await chromium.visitor(options);
      opened.push(visitor);
      complaints.push(visitor.complaints);
      visitor.page.setDefaultTimeout(PATIENCE);
      await visitor.page.goto(cockpit.url);
      return visitor.page;
    }

    async function open(user: "root" | "nobody", options?: BrowserContextOptions): Promise<CockpitVisit> {
      const page = await visit(user, options);
      await page.goto(new URL("luksmith", page.url()).href);
      const frame = await (await page.waitForSelector(FRAME)).contentFrame();
      if (frame === null) throw new Error("Cockpit does not show the page");
      return { page, frame };
    }

    return { host: host(), visit, open };
  };
}
