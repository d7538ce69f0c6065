import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { LuksmithError } from "../../../src/error/luksmith-error.js";
import type { Command, CommandResult, CommandRunner } from "../../../src/exec/command-runner.js";
import type { ProxmoxPlaces } from "../../../src/host/proxmox/places.js";

const PROGRAM = fileURLToPath(new URL("fake-qm", import.meta.url));

/** Runs the fake in the place of `qm`, in the environment that the real one would get; no other program. */
export class FakeQmRunner implements CommandRunner {
  readonly commands: Command[] = [];
  /** May change the world in the moment before the program starts. */
  before: () => void = () => undefined;

  constructor(
    private readonly places: ProxmoxPlaces,
    private readonly node: string,
    private readonly running: readonly string[] = [],
  ) {}

  async run(command: Command): Promise<CommandResult> {
    await Promise.resolve();
    if (command.tool !== "qm") throw new Error(`unexpected command: ${command.tool}`);
    this.commands.push(command);
    this.before();
    const { status, stdout, stderr } = spawnSync(PROGRAM, command.args, {
      encoding: "utf8",
      env: {
        ...{ LC_ALL: "C", PATH: "/usr/bin:/bin", ...command.env },
        ...{
          FAKE_QM_ROOT: this.places.pve,
          FAKE_QM_NODE: this.node,
          FAKE_QM_RUNNING: this.running.join(" "),
        },
      },
    });
    if (status === 0) return { exitCode: status, stdout, stderr };
    throw new LuksmithError("TOOL_FAILED", {
      what: "qm failed",
      why: stderr.trimEnd().split("\n").at(-1) ?? "",
    });
  }

  hold(): Promise<never> {
    return Promise.reject(new Error("qm is never held"));
  }
}
