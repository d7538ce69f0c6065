import type { UiRequest } from "../../generated/ui-request.js";

/** What is given to `luksmith`: arguments, which everybody on the host may read, and what only it reads. */
export interface CommandLine {
  readonly args: readonly string[];
  /** For its standard input: settings, which may have secrets in them. */
  readonly input?: string;
}

/** The one table of what pages can do: each request is one command that an administrator could type. */
export function commandLineOf(request: UiRequest): CommandLine {
  switch (request.command) {
    case "settings-get":
      return { args: ["settings", "get", "--json"] };
    case "settings-set":
      return {
        args: ["settings", "set", "--json", "--digest", request.digest],
        input: JSON.stringify(request.settings, undefined, 2),
      };
    case "settings-test":
      return {
        args: ["settings", "test", "--json", "--progress", "--stdin", request.keystore],
        input: JSON.stringify(request.settings),
      };
    case "settings-preview":
      return { args: ["settings", "preview", "--json"], input: JSON.stringify(request.settings) };
    case "status":
      return { args: ["status", "--all", "--json"] };
    case "status-csv":
      return { args: ["status", "--all", "--format", "csv"] };
    case "protect":
      return {
        args: [
          ...["protect", "--json"],
          ...request.disks.flatMap((disk) => ["--disk", disk]),
          ...(request.profile === undefined ? [] : ["--profile", request.profile]),
          ...(request.content === "convert" ? ["--convert"] : []),
          ...dry(request.manner),
          ...["--", request.guest],
        ],
      };
    case "reap":
      return { args: ["reap", "--json", ...dry(request.manner)] };
    case "version":
      return { args: ["version", "--json"] };
  }
}

function dry(manner: "apply" | "dry-run"): string[] {
  return manner === "dry-run" ? ["--dry-run"] : [];
}
