import { type Browser as Connection, type BrowserContextOptions, chromium, type Page } from "playwright-core";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { daemonDirectory, startGuardedDaemon, until } from "./guarded-daemon.js";

/** Debian's Chromium without a window. It ends with this process, whatever way that comes, and leaves no file. */
export interface Browser extends AsyncDisposable {
  /** Somebody who has been nowhere yet: cookies and storage of their own, and one empty page. */
  visitor(options?: BrowserContextOptions): Promise<Visitor>;
}

export interface Visitor extends AsyncDisposable {
  readonly page: Page;
  /**
   * What no page of ours may cause: errors on the console, which violations of a content security policy and files
   * that are missing are as well, exceptions, and requests that leave this machine; with the address of the document or
   * script. Grows.
   */
  readonly complaints: readonly string[];
}

/** Needs the packages chromium and fonts-liberation. */
export async function startBrowser(): Promise<Browser> {
  const directory = daemonDirectory("browser");
  const argv = [
    ...["env", `HOME=${directory}`, `TMPDIR=${directory}`, "chromium", "--headless", "--no-sandbox"],
    ...["--disable-gpu", "--no-first-run", "--hide-scrollbars", "--disable-background-networking"],
    ...["--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"],
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1",
    ...[`--user-data-dir=${join(directory, "profile")}`, "--remote-debugging-port=0", "about:blank"],
  ];
  const daemon = await startGuardedDaemon(directory, argv, "family");
  try {
    const address = await debuggingAddress(join(directory, "profile"));
    const connection = await chromium.connectOverCDP(address, { artifactsDir: join(directory, "artifacts") });
    return new GuardedBrowser(connection, daemon);
  } catch (thrown) {
    await daemon[Symbol.asyncDispose]();
    throw thrown;
  }
}

/** Chromium writes it when it is ready, and not in one go. */
async function debuggingAddress(profile: string): Promise<string> {
  let address = "";
  await until(() => {
    const file = readFileSync(join(profile, "DevToolsActivePort"), "utf8");
    const [, port, path] = /^(\d+)\n(\/devtools\/browser\/[0-9a-f-]{36})$/.exec(file.trimEnd()) ?? [];
    if (port === undefined || path === undefined) throw new Error(`Chromium has written half: ${file}`);
    address = `ws://127.0.0.1:${port}${path}`;
  }, 30);
  return address;
}

class GuardedBrowser implements Browser {
  constructor(
    private readonly connection: Connection,
    private readonly daemon: AsyncDisposable,
  ) {}

  async visitor(options: BrowserContextOptions = {}): Promise<Visitor> {
    const context = await this.connection.newContext({
      locale: "en-GB",
      timezoneId: "UTC",
      viewport: { width: 1280, height: 800 },
      // screenshots and axe-core see what is there in the end
      reducedMotion: "reduce",
      ...options,
    });
    const complaints: string[] = [];
    context.on("console", (message) => {
      if (message.type() !== "error") return;
      complaints.push(`console: ${message.text()} (${message.location().url})`);
    });
    context.on("weberror", (error) => {
      complaints.push(`exception: ${error.error().message} (${error.page()?.url() ?? ""})`);
    });
    context.on("request", (request) => {
      if (isExternal(request.url())) complaints.push(`request: ${request.url()}`);
    });
    const page = await context.newPage();
    return { page, complaints, [Symbol.asyncDispose]: () => context.close() };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.connection.close();
    await this.daemon[Symbol.asyncDispose]();
  }
}

function isExternal(address: string): boolean {
  const { protocol, hostname } = new URL(address);
  return !["data:", "blob:"].includes(protocol) && !["127.0.0.1", "localhost"].includes(hostname);
}
