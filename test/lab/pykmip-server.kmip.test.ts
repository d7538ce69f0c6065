import { execa } from "execa";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { connect } from "node:net";
import { setTimeout } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { startPyKmipServer } from "./pykmip-server.js";

const SERVER = new URL("pykmip-server.ts", import.meta.url).href;

async function listens(port: number): Promise<boolean> {
  const socket = connect(port, "127.0.0.1");
  try {
    await once(socket, "connect");
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  const start = performance.now();
  while (!(await condition())) {
    if (performance.now() - start > 10_000) throw new Error("it did not happen in 10 seconds");
    await setTimeout(50);
  }
}

describe("the KMIP server of the lab", () => {
  it("listens until it is stopped, and leaves nothing", async () => {
    const server = await startPyKmipServer();
    expect([await listens(server.port), existsSync(server.directory)]).toEqual([true, true]);
    await server[Symbol.asyncDispose]();
    expect([await listens(server.port), existsSync(server.directory)]).toEqual([false, false]);
  });

  it.each(["SIGKILL", "SIGINT"] as const)("is gone after its test ended by %s", async (signal) => {
    const program = `
      import { startPyKmipServer } from ${JSON.stringify(SERVER)};
      const { port, directory } = await startPyKmipServer();
      console.log(JSON.stringify({ port, directory }));
      setInterval(() => undefined, 1000);`;
    const child = execa("node", ["--import", "tsx", "--input-type", "module", "--eval", program], {
      reject: false,
    });
    const [line] = (await once(child.stdout, "data")) as [Buffer];
    const { port, directory } = JSON.parse(line.toString()) as { port: number; directory: string };
    expect([await listens(port), existsSync(directory)]).toEqual([true, true]);
    child.kill(signal);
    await child;
    await until(async () => !(await listens(port)) && !existsSync(directory));
  });
});
