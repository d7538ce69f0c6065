import type { UiRequest } from "../../../generated/ui-request.js";
import { commandLineOf } from "../../api/command-line.js";
import { type Answer, HomeError, type RunOptions, type Transport } from "../../api/transport.js";
import { ByteLines } from "./byte-lines.js";

/** Of Cockpit's `window.cockpit` (base1/cockpit.js), what is used here. */
export interface Cockpit {
  spawn(argv: readonly string[], options: SpawnOptions): Process;
  /** Goes to another package's page. */
  jump(path: string): void;
  /** By name, of the packages of this host; only with ../manifests.js. */
  readonly manifests?: Readonly<Record<string, unknown>>;
}

interface SpawnOptions {
  /** require: as an administrator, or not at all. */
  readonly superuser: "require";
  /** message: standard error comes beside the end, and not in the journal. */
  readonly err: "message";
  readonly binary: true;
}

/** A deferred of Cockpit's own kind, which ends with two values: `await` would lose the second. */
interface Process {
  stream(onPart: (part: Uint8Array) => void): Process;
  /** Ends the standard input as well. */
  input(bytes: Uint8Array): Process;
  done(onEnd: (rest: Uint8Array, stderr?: string) => void): Process;
  fail(onFailure: (failure: ProcessFailure) => void): Process;
}

/** `problem` is set where the command could not be run, or was killed. */
export interface ProcessFailure {
  readonly problem: string | null;
  readonly exit_status: number | null;
  readonly exit_signal?: string | null;
  readonly message: string;
}

const COMMAND = ["luksmith"];
/** Cockpit's package for virtual machines. */
const MACHINES = "machines";

/** A command of the host, by Cockpit's bridge on it. */
export class CockpitTransport implements Transport {
  /** The bridge ends the processes of a page that is gone, with SIGTERM. */
  readonly endsWithPage = true;
  readonly showGuest?: (guestName: string) => void;

  /** `engine`: what starts luksmith, where that is not a command of that name. */
  constructor(
    private readonly cockpit: Cockpit,
    private readonly engine: readonly string[] = COMMAND,
  ) {
    if (cockpit.manifests?.[MACHINES] !== undefined)
      this.showGuest = (name) => {
        cockpit.jump(`/${MACHINES}#/vm?name=${encodeURIComponent(name)}&connection=system`);
      };
  }

  run(request: UiRequest, { onLine }: RunOptions = {}): Promise<Answer> {
    const { args, input = "" } = commandLineOf(request);
    const out: string[] = [];
    const lines = new ByteLines((line) => {
      out.push(`${line}\n`);
      onLine?.(line);
    });
    return new Promise((resolve, reject) => {
      const ended = (exitCode: number, stderr: string) => {
        lines.end();
        resolve({ exitCode, stdout: out.join(""), stderr });
      };
      this.cockpit
        .spawn([...this.engine, ...args], { superuser: "require", err: "message", binary: true })
        .stream((part) => lines.add(part))
        .input(new TextEncoder().encode(input))
        .done((_rest, stderr = "") => ended(0, stderr))
        .fail((failure) => {
          if (failure.problem !== null || failure.exit_status === null) reject(homeErrorOf(failure));
          else ended(failure.exit_status, failure.message);
        });
    });
  }
}

function homeErrorOf({ problem, exit_signal, message }: ProcessFailure): HomeError {
  switch (problem) {
    case "access-denied":
    case "not-authorized":
    case "authentication-failed":
      return new HomeError(
        "forbidden",
        "Only an administrator may do this. Turn on administrative access in Cockpit.",
      );
    case "not-found":
      return new HomeError("unreachable", "The command luksmith is not installed on this host.");
    case "disconnected":
    case "no-session":
    case "no-host":
    case "timeout":
      return new HomeError("unreachable", "Cockpit has lost its connection to the host.");
    case null:
      return new HomeError("broken", `The command was ended by signal ${exit_signal ?? "unknown"}.`);
    default:
      return new HomeError("broken", `Cockpit could not run the command: ${message}`);
  }
}
