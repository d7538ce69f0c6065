import { createServer } from "node:http";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { existsSync } from "node:fs";
import type { Page } from "playwright-core";
import { describe, expect, it } from "vitest";
import { localUiForThisFile } from "./each-test.js";

const ui = localUiForThisFile();
const SETTINGS = "/etc/luksmith/settings.json";
/** SHA-256 of no bytes: of the settings where there is no file. */
const NO_FILE = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
/** To a script that may not look. */
const NOTHING = "";

const guestsHeading = (page: Page) => page.getByRole("heading", { name: "Guests" });

it("opens by the address that was printed, keeps working when it is loaded again, and never opens twice", async () => {
  await ui().host.guest("web1", ["raw"]);
  const { address } = await ui().serve();
  const { page } = await ui().visitor();
  await page.goto(address);
  await guestsHeading(page).waitFor();
  expect(page.url()).not.toContain("token");
  await page.reload();
  await page.getByText("web1").first().waitFor();

  await using second = await ui().browser.visitor();
  await second.page.goto(address);
  await second.page.getByText("luksmith ui").first().waitFor();
  expect(await second.page.getByText("web1").count()).toBe(0);
  await page.reload();
  await page.getByText("web1").first().waitFor();
});

it("does nothing for a page of another port of this machine that has the browser's cookie", async () => {
  const { address, origin } = await ui().serve();
  await using visitor = await ui().browser.visitor();
  await visitor.page.goto(address);
  await guestsHeading(visitor.page).waitFor();

  await using elsewhere = await foreignPage(`<!doctype html><iframe src="${origin}/"></iframe>`);
  // in the same browser: cookies know no ports
  const attacker = await visitor.page.context().newPage();
  await attacker.goto(elsewhere.origin);
  const request = JSON.stringify({ command: "settings-set", digest: NO_FILE, settings: { version: 1 } });
  const answers = await attacker.evaluate(attack, { origin, request });
  expect(answers).toEqual(answers.map(() => NOTHING));
  expect(existsSync(ui().host.inside(SETTINGS))).toBe(false);
  const framed = attacker.frames().map((frame) => frame.url());
  expect(framed).toHaveLength(2);
  expect(framed).not.toContain(`${origin}/`);
});

describe("the server ends", () => {
  it("by Ctrl-C, and the page says that nobody answers", async () => {
    const server = await ui().serve();
    await using visitor = await ui().browser.visitor();
    await visitor.page.goto(server.address);
    await visitor.page.getByRole("heading", { name: "No guests", exact: true }).waitFor();
    await server.interrupt();
    expect(await server.ended).toMatchObject({ exitCode: 0, stderr: "" });
    await visitor.page.getByRole("button", { name: "Read again" }).click();
    await visitor.page.getByRole("alert").getByText("does not answer").waitFor();
  });

  it("when nobody uses the page", async () => {
    const server = await ui().serve("--idle-minutes", "0.05");
    const { page } = await ui().visitor();
    await page.goto(server.address);
    await guestsHeading(page).waitFor();
    const { exitCode, stdout } = await server.ended;
    expect(exitCode).toBe(0);
    expect(stdout).toContain("nobody has used it");
  });
});

/** Runs in the foreign page, and returns what a script there gets to read. */
async function attack({
  origin,
  request,
}: {
  readonly origin: string;
  readonly request: string;
}): Promise<string[]> {
  const json = { "content-type": "application/json" };
  const attempts: RequestInit[] = [
    { method: "POST", body: request, headers: { ...json, "luksmith-key": "guessed" } },
    { method: "POST", body: request, headers: json },
    { method: "POST", body: request, mode: "no-cors" },
    { method: "GET" },
  ];
  const read = async (attempt: RequestInit) => {
    const answer = await fetch(`${origin}/run`, { credentials: "include", ...attempt });
    return answer.text();
  };
  return Promise.all(attempts.map((attempt) => read(attempt).catch(() => "")));
}

interface ForeignPage extends AsyncDisposable {
  readonly origin: string;
}

/** A web server of somebody else on this machine. */
async function foreignPage(html: string): Promise<ForeignPage> {
  const server = createServer((_, response) => {
    response.setHeader("content-type", "text/html").end(html);
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  const { port } = server.address() as AddressInfo;
  return {
    origin: `http://127.0.0.1:${port}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}
