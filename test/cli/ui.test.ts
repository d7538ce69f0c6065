import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer, type AddressInfo } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import type { LuksmithError } from "../../src/error/luksmith-error.js";
import type { UiOutput } from "../../src/generated/ui.js";
import validate from "../../src/generated/validate-ui.cjs";
import { loadPages } from "../../src/ui/local/pages.js";
import { newPath, openSession } from "../ui/local/world.js";
import { commandLine, luksmith } from "./luksmith.js";

const running = new Set<() => void>();
afterEach(() => {
  for (const end of running) end();
  running.clear();
});

/** Runs it until its first line. The pages are those of the build. */
async function start(...options: string[]) {
  const [node = "", ...args] = commandLine(["ui", ...options]);
  const child = spawn(node, args, { stdio: ["ignore", "pipe", "inherit"] });
  running.add(() => child.kill("SIGKILL"));
  let said = "";
  child.stdout.on("data", (text: Buffer) => (said += text.toString()));
  const ended = once(child, "close").then(([code]) => ({ code: code as unknown, said }));
  while (!said.includes("\n")) await Promise.race([once(child.stdout, "data"), ended]);
  return { child, first: said.split("\n")[0]!, ended };
}

describe("luksmith ui", () => {
  it("--json prints the address of a page that runs this luksmith, until Ctrl-C", async () => {
    const { child, first, ended } = await start("--json", "--idle-minutes", "30");
    const output = JSON.parse(first) as UiOutput;
    expect(validate(output)).toBe(true);
    expect(output).toMatchObject({ idleMinutes: 30, tokenMinutes: 5 });
    const page = await fetch(output.address);
    expect(page.status).toBe(200);
    expect(await page.text()).toContain("Luksmith");
    child.kill("SIGINT");
    expect(await ended).toEqual({ code: 0, said: `${first}\n` });
  });

  it("prints for people how to open it, from elsewhere as well, and why it has ended", async () => {
    const { first, ended } = await start("--idle-minutes", "0.01");
    const address = /^open (http:\/\/127\.0\.0\.1:(\d+)\/#token=[\w-]{43})$/.exec(first);
    const server = { address: address?.[1] ?? "", port: Number(address?.[2]) };
    await openSession(server);
    const { code, said } = await ended;
    expect(code).toBe(0);
    expect(said).toContain(`ssh -L ${server.port}:127.0.0.1:${server.port} `);
    expect(said).toMatch(/\nthe page has ended: nobody has used it\n$/);
  });

  it("fails on a port that is taken", async () => {
    const other = createServer().listen(0, "127.0.0.1");
    await once(other, "listening");
    const { port } = other.address() as AddressInfo;
    const { status, stdout } = luksmith(["ui", "--json", "--port", `${port}`]);
    other.close();
    const why = expect.stringContaining("address already in use") as string;
    expect([status, JSON.parse(stdout)]).toMatchObject([4, { error: { code: "UI_UNAVAILABLE", why } }]);
  });

  it.each([
    "--port 80",
    "--port 65536",
    "--port x",
    "--idle-minutes 0",
    "--idle-minutes 1441",
    "--idle-minutes -1",
  ])("refuses %s", (options) => {
    expect(luksmith(["ui", ...options.split(" ")])).toMatchObject({ status: 2, stdout: "" });
  });

  it("is for root only", () => {
    expect(luksmith(["ui"], { as: "nobody" })).toMatchObject({ status: 6, stdout: "" });
  });
});

it("pages that are not there are named", () => {
  const why = expect.stringContaining("index.html") as string;
  const missing = expect.objectContaining({ code: "UI_UNAVAILABLE", why }) as LuksmithError;
  expect(() => loadPages(newPath("nowhere"))).toThrow(missing);
});
