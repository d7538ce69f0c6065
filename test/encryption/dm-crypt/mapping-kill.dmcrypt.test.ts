import { execFileSync, spawn } from "node:child_process";
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { MappingRequest } from "../../../src/encryption/encryption-provider.js";
import { asLuksmithError } from "../../../src/error/luksmith-error.js";
import { Bundle } from "../../lab/bundle.js";
import { loops, mapper, MappingLab, mappingNames, read, write } from "./mapping-lab.js";
import type { MappingOrder } from "./mapping-process.js";

const SCRIPT = fileURLToPath(new URL("mapping-process.ts", import.meta.url));

/** Milliseconds: User-Mode Linux takes its time to start a process. */
const LONG = 300_000;
const NOTHING = { mappings: [], claims: [] };

let directory: string;
let script: Bundle;
beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "luksmith-passphrase-"));
  script = await Bundle.of(SCRIPT);
});
afterAll(() => {
  rmSync(directory, { recursive: true });
  script[Symbol.dispose]();
});

let lab: MappingLab;
let loopsBefore: string[];
beforeEach(() => {
  lab = new MappingLab();
});
afterEach(() => lab[Symbol.dispose]());

/** @returns `done`, `killed`, or the code of the error */
async function elsewhere(order: Pick<MappingOrder, "what" | "request" | "killed">): Promise<string> {
  const passphraseFile = join(directory, "passphrase");
  lab.passphrase.use((bytes) => writeFileSync(passphraseFile, bytes, { mode: 0o600 }));
  const whole: MappingOrder = { ...order, passphraseFile, places: lab.places };
  const [tool, ...args] = [process.execPath, script.file, JSON.stringify(whole)] as [string, ...string[]];
  const child = spawn(tool, args, { stdio: ["ignore", "pipe", "inherit"] });
  let output = "";
  child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
  return await new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", (_code, signal) => resolve(signal === "SIGKILL" ? "killed" : output.trim()));
  });
}

/** All that is there is claimed, and closing by the claims leaves nothing; then the volume opens as ever. */
async function expectReapable(request: MappingRequest): Promise<void> {
  const claimed = lab.mappings.claims().map(({ name }) => name);
  for (const name of claimed) expect(await lab.mappings.close(name)).toEqual({ kind: "closed" });
  const left = { mappings: mappingNames(), claims: lab.claimFiles(), loops: loops() };
  expect(left).toEqual({ ...NOTHING, loops: loopsBefore });
  await lab.open(request);
  write(mapper(request.name), "plain text");
  expect(read(mapper(request.name), 10)).toBe("plain text");
  await lab.mappings.close(request.name);
}

describe.each(["file", "block"] as const)("a process with a %s", (kind) => {
  let request: MappingRequest;
  beforeEach(() => {
    request = lab.make(kind, kind === "file" ? "luksv2" : "luks");
    loopsBefore = loops();
  });

  it.each(["before", "during"] as const)(
    "that is killed %s any of its steps leaves what can be closed",
    { timeout: LONG },
    async (when) => {
      const endings: string[] = [];
      for (const what of ["open", "close"] as const) {
        for (let command = 1; ; command++) {
          if (what === "close") await lab.open(request);
          const ending = await elsewhere({ what, request, killed: { when, command } });
          endings.push(ending);
          await expectReapable(request);
          if (ending !== "killed") break;
        }
      }
      const steps = kind === "file" ? 4 : 3;
      expect(endings).toEqual([...Array<string>(steps).fill("killed"), "done", "killed", "killed", "done"]);
    },
  );
});

describe.each(["file", "block"] as const)("a cryptsetup with a %s", (kind) => {
  it(
    "that is killed before any of its calls to device-mapper leaves nothing",
    { timeout: LONG },
    async () => {
      const request = lab.make(kind, kind === "file" ? "luksv2" : "luks");
      loopsBefore = loops();
      let kills = 0;
      for (let nth = 1; ; nth++) {
        const ending = await openKilledBefore(nth, request);
        if (ending === "done") break;
        kills++;
        const left = { mappings: mappingNames(), claims: lab.claimFiles(), loops: loops() };
        expect({ nth, ending, ...left }).toEqual({
          nth,
          ending: "TOOL_FAILED",
          ...NOTHING,
          loops: loopsBefore,
        });
      }
      expect(kills).toBeGreaterThan(3);
      await expectReapable(request);
    },
  );

  /** @param nth of the calls that cryptsetup makes to open the mapping */
  async function openKilledBefore(nth: number, request: MappingRequest): Promise<string> {
    const trace = "-f -o /dev/null -P /dev/mapper/control -e trace=ioctl";
    const script = [
      '[ "$1" = open ] || exec "$tool" "$@"',
      `exec strace ${trace} -e inject=ioctl:signal=KILL:when=${nth} "$tool" "$@"`,
    ];
    const wrapper = new Wrapper("/usr/sbin/cryptsetup", script.join("\n"));
    try {
      await lab.open(request);
      return "done";
    } catch (thrown) {
      return asLuksmithError(thrown).code;
    } finally {
      wrapper[Symbol.dispose]();
    }
  }
});

/** A script in the place of a program, which it finds as $tool. Only in User-Mode Linux. */
class Wrapper implements Disposable {
  readonly #directory = mkdtempSync(join(tmpdir(), "luksmith-wrapper-"));

  constructor(
    private readonly path: string,
    script: string,
  ) {
    const [tool, wrapper] = [join(this.#directory, "tool"), join(this.#directory, "wrapper")];
    copyFileSync(path, tool);
    writeFileSync(wrapper, `#!/bin/sh\ntool=${tool}\n${script}\n`, { mode: 0o755 });
    execFileSync("mount", ["--bind", wrapper, path]);
  }

  [Symbol.dispose](): void {
    execFileSync("umount", [this.path]);
    rmSync(this.#directory, { recursive: true });
  }
}
