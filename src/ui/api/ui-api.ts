import type { ConvertOutput } from "../../generated/convert.js";
import type { ErrorOutput } from "../../generated/error.js";
import type { ReapOutput } from "../../generated/reap.js";
import type { SettingsGetOutput } from "../../generated/settings-get.js";
import type { SettingsPreviewOutput } from "../../generated/settings-preview.js";
import type { SettingsSetOutput } from "../../generated/settings-set.js";
import type { SettingsTestProgress } from "../../generated/settings-test-progress.js";
import type { SettingsTestOutput } from "../../generated/settings-test.js";
import type { StatusOutput } from "../../generated/status.js";
import type { ProtectRequest, UiRequest } from "../../generated/ui-request.js";
import type { VersionOutput } from "../../generated/version.js";
import { type Answer, HomeError, type RunOptions, type Transport } from "./transport.js";

export type Problem = ErrorOutput["error"];

/** A luksmith command said no; `problem` has its words. */
export class CommandProblem extends Error {
  constructor(readonly problem: Problem) {
    super(problem.what);
    this.name = "CommandProblem";
  }
}

type Manner = ProtectRequest["manner"];
/** Settings as the file has them, without defaults. */
export type StoredSettings = SettingsGetOutput["stored"];

/** What pages can do, in their words. Every method throws CommandProblem, or the transport's HomeError. */
export class UiApi {
  constructor(private readonly transport: Transport) {}

  settings(): Promise<SettingsGetOutput> {
    return this.#ask({ command: "settings-get" });
  }

  /** @throws CommandProblem SETTINGS_INVALID with `fields`, SETTINGS_CHANGED where `digest` is not that of the file */
  save(settings: StoredSettings, digest: string): Promise<SettingsSetOutput> {
    return this.#ask({ command: "settings-set", settings, digest });
  }

  /** Tries one keystore of settings that need not be saved. What the test found is an answer, also where it failed. */
  test(
    settings: StoredSettings,
    keystore: string,
    onProgress: (event: SettingsTestProgress) => void,
  ): Promise<SettingsTestOutput> {
    const onLine = (line: string) => {
      const value = parse(line);
      if (isEvent(value)) onProgress(value as SettingsTestProgress);
    };
    return this.#ask({ command: "settings-test", settings, keystore }, { onLine });
  }

  preview(settings: StoredSettings): Promise<SettingsPreviewOutput> {
    return this.#ask({ command: "settings-preview", settings });
  }

  status(): Promise<StatusOutput> {
    return this.#ask({ command: "status" });
  }

  async statusCsv(): Promise<string> {
    const answer = await this.transport.run({ command: "status-csv" });
    // 4 and 5: something in it could not be found out, or is not as it should be, which is what the file is for
    if (answer.stdout === "" || ![0, 4, 5].includes(answer.exitCode)) throw problemIn(answer);
    return answer.stdout;
  }

  /** Resolves when all disks are what they were to be. */
  async protect(
    request: Omit<ProtectRequest, "command">,
    onEvent: (event: ConvertOutput) => void,
  ): Promise<void> {
    const onLine = (line: string) => {
      const value = parse(line);
      if (isEvent(value)) onEvent(value as ConvertOutput);
    };
    const answer = await this.transport.run({ command: "protect", ...request }, { onLine });
    if (answer.exitCode !== 0) throw problemIn(answer);
  }

  reap(manner: Manner): Promise<ReapOutput> {
    return this.#ask({ command: "reap", manner });
  }

  version(): Promise<VersionOutput> {
    return this.#ask({ command: "version" });
  }

  /** Goes to the host manager's own page of a guest; absent where there is none. */
  get showGuest(): ((guestName: string) => void) | undefined {
    return this.transport.showGuest;
  }

  /** What becomes of a command when its page is closed. */
  get whenClosed(): "goes-on" | "ends" {
    return this.transport.endsWithPage ? "ends" : "goes-on";
  }

  /** The document that the command prints; some print one and exit with an error code all the same. */
  async #ask<T>(request: UiRequest, options?: RunOptions): Promise<T> {
    const answer = await this.transport.run(request, options);
    const document = documentsIn(answer.stdout).findLast(
      (value) => isObject(value) && !isError(value) && !isEvent(value),
    );
    if (document === undefined) throw problemIn(answer);
    return document as T;
  }
}

function problemIn({ stdout, stderr, exitCode }: Answer): Error {
  const error = documentsIn(stdout).find(isError);
  if (error !== undefined) return new CommandProblem(error.error);
  const said = stderr.trim().split("\n")[0] ?? "";
  return new HomeError("broken", said === "" ? `luksmith ended with exit code ${exitCode}` : said);
}

/** One document over many lines, or one a line; what is neither is left out. */
function documentsIn(text: string): unknown[] {
  const whole = parse(text);
  return whole === undefined ? text.split("\n").map(parse) : [whole];
}

/** Of which kind the command says; the engine has checked it against its schema before it was printed. */
function isEvent(value: unknown): boolean {
  return isObject(value) && "event" in value;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

function isError(value: unknown): value is ErrorOutput {
  return isObject(value) && isObject(value["error"]);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
