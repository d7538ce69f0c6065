import { describe, expect, it } from "vitest";
import { HomeError } from "../../../src/ui/api/transport.js";
import { KEY_HEADER, type RunLine } from "../../../src/ui/local/protocol.js";
import {
  type Cockpit,
  CockpitTransport,
  type ProcessFailure,
} from "../../../src/ui/page/transports/cockpit.js";
import { ByteLines } from "../../../src/ui/page/transports/byte-lines.js";
import { LocalTransport, type Tab } from "../../../src/ui/page/transports/local.js";

const TOKEN = "t".repeat(43);
const KEY = "the key of this session";
const bytes = (text: string) => new TextEncoder().encode(text);
/** Of text that is given out a few bytes at a time, so that characters are cut in two. */
const pieces = (text: string, length: number) => {
  const all = bytes(text);
  return Array.from({ length: Math.ceil(all.length / length) }, (_, index) =>
    all.slice(index * length, (index + 1) * length),
  );
};

describe("lines", () => {
  for (const length of [1, 2, 3, 5, 1000]) {
    it(`are whole where the text comes ${length} bytes at a time`, () => {
      const heard: string[] = [];
      const lines = new ByteLines((line) => heard.push(line));
      for (const piece of pieces("größe\n\n𝄞 €\nno end", length)) lines.add(piece);
      expect(heard).toEqual(["größe", "", "𝄞 €"]);
      lines.end();
      expect(heard).toEqual(["größe", "", "𝄞 €", "no end"]);
    });
  }

  it("are none of no text, and the last one is not told twice", () => {
    const heard: string[] = [];
    const lines = new ByteLines((line) => heard.push(line));
    lines.end();
    lines.add(bytes("a\n"));
    lines.end();
    lines.end();
    expect(heard).toEqual(["a"]);
  });
});

/** A tab of a browser at a server that answers as told, and what was asked of it. */
function tabAt(answers: readonly (Response | Error)[], { hash = `#token=${TOKEN}`, stored = {} } = {}) {
  const asked: { path: string; body: unknown; headers: Record<string, string> }[] = [];
  const storage = new Map<string, string>(Object.entries(stored));
  const location = { hash, pathname: "/" };
  const left = [...answers];
  const tab: Tab = {
    location,
    history: {
      replaceState: (_state, _title, address) => {
        location.hash = String(address).replace("/", "");
      },
    },
    sessionStorage: {
      getItem: (name) => storage.get(name) ?? null,
      setItem: (name, value) => void storage.set(name, value),
    },
    fetch: (path, { body, headers }) => {
      asked.push({ path, body: JSON.parse(body as string), headers: headers as Record<string, string> });
      const answer = left.shift();
      if (answer === undefined) throw new Error("asked too often");
      return answer instanceof Error ? Promise.reject(answer) : Promise.resolve(answer);
    },
  };
  return { tab, asked, storage, location };
}
const session = () => new Response(JSON.stringify({ key: KEY }));
const answer = (...lines: RunLine[]) =>
  new Response(lines.map((line) => `${JSON.stringify(line)}\n`).join(""));
const refusal = (status: number, name: string) =>
  new Response(JSON.stringify({ refusal: name, message: "Told by the server." }), { status });
/** A tab that has a session. */
const opened = async () => {
  const before = tabAt([session(), answer({ exit: 0, stderr: "" })]);
  await new LocalTransport(before.tab).run({ command: "version" });
  return before;
};
const failureOf = async (promise: Promise<unknown>) => {
  const thrown: unknown = await promise.then(
    () => undefined,
    (error: unknown) => error,
  );
  if (!(thrown instanceof HomeError)) throw new Error(`no HomeError: ${String(thrown)}`);
  return thrown;
};

describe("the local transport", () => {
  it("exchanges the token for a key once, and takes it out of the address", async () => {
    const { tab, asked, storage, location } = tabAt([session(), answer({ exit: 0, stderr: "" })]);
    await new LocalTransport(tab).run({ command: "version" });
    expect(location.hash).toBe("");
    expect([...storage.values()]).toEqual([KEY]);
    expect(asked).toEqual([
      { path: "/session", body: { token: TOKEN }, headers: { "content-type": "application/json" } },
      {
        path: "/run",
        body: { command: "version" },
        headers: { "content-type": "application/json", [KEY_HEADER]: KEY },
      },
    ]);
  });

  it("goes on with the tab's key after a reload", async () => {
    const stored = Object.fromEntries((await opened()).storage);
    const { tab, asked } = tabAt([answer({ exit: 0, stderr: "" })], { hash: "#/settings", stored });
    await new LocalTransport(tab).run({ command: "version" });
    expect(asked.map(({ path, headers }) => [path, headers[KEY_HEADER]])).toEqual([["/run", KEY]]);
  });

  it("asks nothing without a session", async () => {
    const { tab, asked } = tabAt([], { hash: "" });
    expect((await failureOf(new LocalTransport(tab).run({ command: "status" }))).reason).toBe("expired");
    expect(asked).toEqual([]);
  });

  it("hears lines as they come, and answers with all of them and the end", async () => {
    const lines = [{ out: "größe" }, { out: "" }, { out: "𝄞" }, { exit: 5, stderr: "said" }];
    const text = lines.map((line) => `${JSON.stringify(line)}\n`).join("");
    const body = new ReadableStream<Uint8Array>({
      start(controller) {
        for (const piece of pieces(text, 3)) controller.enqueue(piece);
        controller.close();
      },
    });
    const { tab } = tabAt([session(), new Response(body)]);
    const heard: string[] = [];
    const transport = new LocalTransport(tab);
    const whole = await transport.run({ command: "status" }, { onLine: (line) => heard.push(line) });
    expect(whole).toEqual({ exitCode: 5, stdout: "größe\n\n𝄞\n", stderr: "said" });
    expect(heard).toEqual(["größe", "", "𝄞"]);
  });

  it.each([
    ["token", 403, "expired"],
    ["session", 401, "expired"],
    ["busy", 503, "busy"],
    ["request", 400, "broken"],
  ])("says of the refusal %s (%i) that it is %s", async (name, status, reason) => {
    const { tab } = tabAt([session(), refusal(status, name)]);
    const failure = await failureOf(new LocalTransport(tab).run({ command: "status" }));
    expect([failure.reason, failure.message]).toEqual([reason, "Told by the server."]);
  });

  it("says that a used token has ended the session", async () => {
    const { tab, storage } = tabAt([refusal(403, "token")]);
    expect((await failureOf(new LocalTransport(tab).run({ command: "status" }))).reason).toBe("expired");
    expect(storage.size).toBe(0);
  });

  it("goes on with the tab's key where the address is opened again", async () => {
    const stored = Object.fromEntries([...(await opened()).storage]);
    const { tab, asked, storage, location } = tabAt(
      [refusal(403, "token"), answer({ exit: 0, stderr: "" })],
      { stored },
    );
    await new LocalTransport(tab).run({ command: "version" });
    expect(asked.map(({ path, headers }) => [path, headers[KEY_HEADER]])).toEqual([
      ["/session", undefined],
      ["/run", KEY],
    ]);
    expect([...storage.values()]).toEqual([KEY]);
    expect(location.hash).toBe("");
  });

  it("takes the new session where the address of another server is opened in its tab", async () => {
    const stored = Object.fromEntries([...(await opened()).storage].map(([name]) => [name, "of before"]));
    const { tab, asked, storage } = tabAt([session(), answer({ exit: 0, stderr: "" })], { stored });
    await new LocalTransport(tab).run({ command: "version" });
    expect(asked.at(-1)?.headers[KEY_HEADER]).toBe(KEY);
    expect([...storage.values()]).toEqual([KEY]);
  });

  it("takes an answer of something else for no answer", async () => {
    const { tab } = tabAt([session(), new Response("<h1>proxy</h1>", { status: 502 })]);
    const failure = await failureOf(new LocalTransport(tab).run({ command: "status" }));
    expect([failure.reason, failure.message]).toEqual([
      "broken",
      "The server answered with HTTP status 502.",
    ]);
  });

  it("says that the server does not answer", async () => {
    const { tab } = tabAt([session(), new TypeError("Failed to fetch")]);
    expect((await failureOf(new LocalTransport(tab).run({ command: "status" }))).reason).toBe("unreachable");
  });

  it("does not take an answer that is cut off for an end", async () => {
    for (const cut of ['{"out":"a"}\n', '{"out":"a"}\n{"exit":0,"std', ""]) {
      const { tab } = tabAt([session(), new Response(cut)]);
      const failure = await failureOf(new LocalTransport(tab).run({ command: "status" }));
      expect([cut, failure.reason]).toEqual([cut, "unreachable"]);
    }
  });

  it("does not take a connection that breaks for an end", async () => {
    const body = new ReadableStream<Uint8Array>({
      pull(controller) {
        controller.error(new TypeError("network error"));
      },
    });
    const { tab } = tabAt([session(), new Response(body)]);
    expect((await failureOf(new LocalTransport(tab).run({ command: "status" }))).reason).toBe("unreachable");
  });

  it("tells why a command could not be run", async () => {
    const { tab } = tabAt([session(), answer({ failed: "It was killed." })]);
    const failure = await failureOf(new LocalTransport(tab).run({ command: "status" }));
    expect([failure.reason, failure.message]).toEqual(["broken", "It was killed."]);
  });
});

/** Cockpit's deferred, which has ended as told by the time it is listened to. */
function cockpitWith(end: { out?: string; stderr?: string } | ProcessFailure) {
  const spawned: { argv: readonly string[]; options: object; input?: string }[] = [];
  const jumps: string[] = [];
  const cockpit: Cockpit = {
    spawn(argv, options) {
      const call: (typeof spawned)[number] = { argv, options };
      spawned.push(call);
      const process: ReturnType<Cockpit["spawn"]> = {
        stream(onPart) {
          const text = "problem" in end ? "said before\n" : (end.out ?? "");
          for (const piece of pieces(text, 2)) onPart(piece);
          return process;
        },
        input(given) {
          call.input = new TextDecoder().decode(given);
          return process;
        },
        done(onEnd) {
          if (!("problem" in end)) onEnd(new Uint8Array(), end.stderr);
          return process;
        },
        fail(onFailure) {
          if ("problem" in end) onFailure(end);
          return process;
        },
      };
      return process;
    },
    jump: (path) => void jumps.push(path),
    manifests: { machines: {} },
  };
  return { cockpit, spawned, jumps };
}
const failed = (failure: Partial<ProcessFailure>): ProcessFailure => ({
  problem: null,
  exit_status: null,
  message: "said",
  ...failure,
});

describe("Cockpit's transport", () => {
  it("runs the command as administrator, and gives settings to its standard input alone", async () => {
    const { cockpit, spawned } = cockpitWith({ out: "größe\n𝄞" });
    const heard: string[] = [];
    const settings = { version: 1, secret: "of nobody else" };
    const given = await new CockpitTransport(cockpit).run(
      { command: "settings-set", settings, digest: "a".repeat(64) },
      { onLine: (line) => heard.push(line) },
    );
    expect(given).toEqual({ exitCode: 0, stdout: "größe\n𝄞\n", stderr: "" });
    expect(heard).toEqual(["größe", "𝄞"]);
    const [call] = spawned;
    expect(call?.argv).toEqual(["luksmith", "settings", "set", "--json", "--digest", "a".repeat(64)]);
    expect(call?.options).toEqual({ superuser: "require", err: "message", binary: true });
    expect(JSON.parse(call?.input ?? "")).toEqual(settings);
  });

  it("starts the engine that the installation names", async () => {
    const { cockpit, spawned } = cockpitWith({});
    await new CockpitTransport(cockpit, ["/usr/bin/node", "/opt/luksmith.js"]).run({ command: "status" });
    expect(spawned[0]?.argv).toEqual(["/usr/bin/node", "/opt/luksmith.js", "status", "--all", "--json"]);
    expect(spawned[0]?.input).toBe("");
  });

  it("answers with what was said before a command failed", async () => {
    const { cockpit } = cockpitWith(failed({ exit_status: 5 }));
    const given = await new CockpitTransport(cockpit).run({ command: "status" });
    expect(given).toEqual({ exitCode: 5, stdout: "said before\n", stderr: "said" });
  });

  it.each([
    [{ problem: "access-denied" }, "forbidden"],
    [{ problem: "not-authorized" }, "forbidden"],
    [{ problem: "not-found" }, "unreachable"],
    [{ problem: "disconnected" }, "unreachable"],
    [{ problem: "internal-error" }, "broken"],
    [{ exit_signal: "TERM" }, "broken"],
  ])("says of %j that it is %s", async (failure, reason) => {
    const { cockpit } = cockpitWith(failed(failure));
    expect((await failureOf(new CockpitTransport(cockpit).run({ command: "status" }))).reason).toBe(reason);
  });

  it("shows a guest in Machines, whatever its name, where Machines is there", () => {
    const { cockpit, jumps } = cockpitWith({});
    new CockpitTransport(cockpit).showGuest?.("a&b #1");
    expect(jumps).toEqual(["/machines#/vm?name=a%26b%20%231&connection=system"]);
    expect(new CockpitTransport({ ...cockpit, manifests: {} }).showGuest).toBeUndefined();
  });
});
