import { Argument, Command } from "commander";
import { print } from "./output.js";

const SHELLS = ["bash", "fish", "zsh"] as const;

export function completionCommand(): Command {
  return new Command("completion")
    .summary("print a completion script for your shell")
    .description(
      "Prints a completion script, for example: luksmith completion bash > /etc/bash_completion.d/luksmith",
    )
    .addArgument(new Argument("<shell>").choices(SHELLS))
    .action((shell: (typeof SHELLS)[number], _options: unknown, command: Command) => {
      const root = command.parent ?? command;
      const words = [...entriesOf(root, [])];
      switch (shell) {
        case "bash": {
          print(bash(words));
          return;
        }
        case "zsh": {
          // zsh runs bash completions through its own emulation
          print(`#compdef luksmith\nautoload -U +X bashcompinit && bashcompinit\n${bash(words)}`);
          return;
        }
        case "fish": {
          print(fish(words));
          return;
        }
      }
    });
}

/** What may follow `luksmith` and the words in `path`. */
interface Entry {
  readonly path: readonly string[];
  readonly commands: readonly { readonly name: string; readonly summary: string }[];
  readonly options: readonly { readonly flag: string; readonly description: string }[];
}

function* entriesOf(command: Command, path: readonly string[]): Generator<Entry> {
  yield {
    path,
    commands: command.commands.map((child) => ({ name: child.name(), summary: child.summary() })),
    options: command.options.flatMap(({ long, description }) => (long ? [{ flag: long, description }] : [])),
  };
  for (const child of command.commands) yield* entriesOf(child, [...path, child.name()]);
}

function bash(entries: readonly Entry[]): string {
  const cases = entries.map(({ path, commands, options }) => {
    const words = [...commands.map(({ name }) => name), ...options.map(({ flag }) => flag)];
    return `    "${path.join(" ")}") words="${words.join(" ")}" ;;`;
  });
  const paths = entries.filter(({ path }) => path.length > 0).map(({ path }) => `"${path.join(" ")}"`);
  return `_luksmith() {
  local word next path="" words=""
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    next="\${path:+$path }$word"
    case "$next" in ${paths.join("|")}) path="$next" ;; esac
  done
  case "$path" in
${cases.join("\n")}
  esac
  COMPREPLY=($(compgen -W "$words" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -F _luksmith luksmith`;
}

function fish(entries: readonly Entry[]): string {
  return entries
    .flatMap(({ path, commands, options }) => {
      const seen = path.map((word) => `__fish_seen_subcommand_from ${word}`).join("; and ");
      const condition = seen || "__fish_use_subcommand";
      const start = `complete -c luksmith -f -n '${condition}'`;
      return [
        ...commands.map(({ name, summary }) => `${start} -a ${name} -d '${summary}'`),
        ...options.map(({ flag, description }) => `${start} -l ${flag.slice(2)} -d '${description}'`),
      ];
    })
    .join("\n");
}
