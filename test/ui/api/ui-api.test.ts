import { describe, expect, it } from "vitest";
import type { UiRequest } from "../../../src/generated/ui-request.js";
import { commandLineOf } from "../../../src/ui/api/command-line.js";
import { type Answer, HomeError, type Transport } from "../../../src/ui/api/transport.js";
import { CommandProblem, UiApi } from "../../../src/ui/api/ui-api.js";

/** A host on which every command ends with the same answer. */
class FakeTransport implements Transport {
  readonly requests: UiRequest[] = [];

  constructor(private readonly answer: Partial<Answer>) {}

  run(request: UiRequest, { onLine }: { onLine?: (line: string) => void } = {}): Promise<Answer> {
    this.requests.push(request);
    const answer = { exitCode: 0, stdout: "", stderr: "", ...this.answer };
    for (const line of answer.stdout.trimEnd().split("\n")) onLine?.(line);
    return Promise.resolve(answer);
  }
}

function api(answer: Partial<Answer>): UiApi {
  return new UiApi(new FakeTransport(answer));
}

const ERROR = { code: "SETTINGS_CHANGED", what: "cannot save the settings" };
const GUEST = "1b4e28ba-2fa1-11d2-883f-0016d3cca427";

describe("UiApi", () => {
  it("takes a document of many lines", async () => {
    const stdout = `${JSON.stringify({ path: "/p", settings: { a: 1 } }, undefined, 2)}\n`;
    expect(await api({ stdout }).settings()).toEqual({ path: "/p", settings: { a: 1 } });
  });

  it("takes the document of a command that has found something wrong", async () => {
    expect(await api({ stdout: '{"guests":[]}\n', exitCode: 5, stderr: "error: …" }).status()).toEqual({
      guests: [],
    });
  });

  it("takes the last line of a test, and hears the others as they come", async () => {
    const events: unknown[] = [];
    const stdout = '{"event":"begin","keystore":"k"}\nno JSON\n{"ok":true,"keystores":[]}\n';
    const answer = await api({ stdout }).test({}, "k", (event) => events.push(event));
    expect(answer).toEqual({ ok: true, keystores: [] });
    expect(events).toEqual([{ event: "begin", keystore: "k" }]);
  });

  it("throws the command's own error, with its fields", async () => {
    const error = { ...ERROR, fields: [{ pointer: "/rules/0", sentence: "is wrong" }] };
    const failing = api({ stdout: `${JSON.stringify({ error })}\n`, exitCode: 6 }).save({}, "");
    await expect(failing).rejects.toThrow(CommandProblem);
    await expect(failing).rejects.toMatchObject({ problem: error });
  });

  it("throws the error that comes after events", async () => {
    const events: unknown[] = [];
    const stdout = `{"event":"done","what":"one step"}\n${JSON.stringify({ error: ERROR })}\n`;
    const request = { guest: GUEST, disks: ["vda"] as [string], manner: "apply" as const };
    const failing = api({ stdout, exitCode: 1 }).protect(request, (event) => events.push(event));
    await expect(failing).rejects.toMatchObject({ problem: ERROR });
    expect(events).toEqual([{ event: "done", what: "one step" }]);
  });

  it("says what a command said that has printed nothing", async () => {
    const failing = api({ exitCode: 1, stderr: "node: not found\nmore\n" }).status();
    await expect(failing).rejects.toEqual(new HomeError("broken", "node: not found"));
    await expect(api({ exitCode: 3 }).status()).rejects.toThrow("luksmith ended with exit code 3");
  });

  it.each([0, 4, 5])("exports a table where the command ends with %i", async (exitCode) => {
    expect(await api({ stdout: "guest,disk\r\n", exitCode }).statusCsv()).toBe("guest,disk\r\n");
  });

  it.each([
    ["nothing was printed", { exitCode: 4, stderr: "error: no libvirt" }],
    ["the command has failed", { exitCode: 1, stdout: "guest", stderr: "error: no libvirt" }],
  ])("exports no table where %s", async (_, answer) => {
    await expect(api(answer).statusCsv()).rejects.toThrow("error: no libvirt");
  });
});

describe("the command line of a request", () => {
  it.each([
    [
      { command: "protect", guest: GUEST, disks: ["vda", "vdb"], manner: "dry-run" },
      ["protect", "--json", "--disk", "vda", "--disk", "vdb", "--dry-run", "--", GUEST],
    ],
    [
      {
        ...{ command: "protect", guest: "101", disks: ["vda"], manner: "apply" },
        ...{ content: "convert", profile: "gold" },
      },
      ["protect", "--json", "--disk", "vda", "--profile", "gold", "--convert", "--", "101"],
    ],
    [{ command: "reap", manner: "apply" }, ["reap", "--json"]],
    [{ command: "reap", manner: "dry-run" }, ["reap", "--json", "--dry-run"]],
    [{ command: "status-csv" }, ["status", "--all", "--format", "csv"]],
  ] satisfies [UiRequest, string[]][])("is exactly that of %j", (request, args) => {
    expect(commandLineOf(request)).toEqual({ args });
  });

  it("has settings in its input and nowhere else", () => {
    const settings = { version: 1, keystores: [{ password: "s3cret" }] };
    const requests: UiRequest[] = [
      { command: "settings-set", settings, digest: "0".repeat(64) },
      { command: "settings-test", settings, keystore: "k" },
      { command: "settings-preview", settings },
    ];
    for (const request of requests) {
      const { args, input = "" } = commandLineOf(request);
      expect(JSON.parse(input)).toEqual(settings);
      expect(args.join(" ")).not.toContain("s3cret");
    }
  });
});
