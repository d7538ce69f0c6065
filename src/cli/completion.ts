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
      print(COMPLETIONS[shell](command.parent ?? command));
    });
}

/** The completion script for each shell of all that `program` takes. */
export const COMPLETIONS: Readonly<Record<(typeof SHELLS)[number], (program: Command) => string>> = {
  bash: (program) => bash([...entriesOf(program, [])]),
  // zsh runs bash completions through its own emulation
  zsh: (program) =>
    `#compdef luksmith\nautoload -U +X bashcompinit && bashcompinit\n${bash([...entriesOf(program, [])])}`,
  fish: (program) => fish([...entriesOf(program, [])]),
};

/** What may follow `luksmith` and the words in `path`. */
interface Entry {
  readonly path: readonly string[];
  readonly commands: readonly { readonly name: string; readonly summary: string }[];
  readonly options: readonly OptionEntry[];
  /** For each argument what it can be; none where it can be anything. */
  readonly arguments: readonly (readonly string[])[];
}

interface OptionEntry {
  readonly flag: string;
  readonly description: string;
  /** What its value can be, none where it can be anything; undefined for an option without a value. */
  readonly values: readonly string[] | undefined;
}

function* entriesOf(command: Command, path: readonly string[]): Generator<Entry> {
  const visible = new Set(command.createHelp().visibleCommands(command));
  const children = command.commands.filter((child) => visible.has(child));
  yield {
    path,
    commands: children.map((child) => ({ name: child.name(), summary: child.summary() })),
    options: command.options.flatMap(({ long, description, required, argChoices }) =>
      long ? [{ flag: long, description, values: required ? (argChoices ?? []) : undefined }] : [],
    ),
    arguments: command.registeredArguments.map(({ argChoices }) => argChoices ?? []),
  };
  for (const child of children) yield* entriesOf(child, [...path, child.name()]);
}

/** `before` is the word before the one to complete, `given` the number of arguments before it. */
function bash(entries: readonly Entry[]): string {
  const paths = entries.filter(({ path }) => path.length > 0).map(({ path }) => `"${path.join(" ")}"`);
  const values = entries.flatMap(({ path, options }) =>
    options.flatMap((option) =>
      option.values ? [{ when: `"${[...path, option.flag].join(" ")}"`, words: option.values }] : [],
    ),
  );
  const words = entries.flatMap((entry) => {
    const name = entry.path.join(" ");
    const anywhere = [...entry.commands.map(({ name }) => name), ...entry.options.map(({ flag }) => flag)];
    const here = entry.arguments.flatMap((choices, index) =>
      choices.length > 0 ? [{ when: `"${name} ${index}"`, words: [...choices, ...anywhere] }] : [],
    );
    return [...here, { when: `"${name} "[0-9]*`, words: anywhere }];
  });
  const assignments = (cases: readonly { readonly when: string; readonly words: readonly string[] }[]) =>
    cases.map(({ when, words }) => `${when}) words="${words.join(" ")}" ;;`).join("\n    ");
  return `_luksmith() {
  local word next path="" before="" given=0 words=""
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    next="\${path:+$path }$word"
    case "$next" in
      ${paths.join("|")}) path="$next" ;;
      *) case "$word" in
        -*) ;;
        *) case "\${path:+$path }$before" in
          ${values.map(({ when }) => when).join("|")}) ;;
          *) given=$((given + 1)) ;;
        esac ;;
      esac ;;
    esac
    before="$word"
  done
  case "\${path:+$path }$before" in
    ${assignments(values)}
    *) case "$path $given" in
    ${assignments(words)}
    esac ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -F _luksmith luksmith`;
}

function fish(entries: readonly Entry[]): string {
  return entries
    .flatMap(({ path, commands, options, arguments: all }) => {
      const seen = path.map((word) => `__fish_seen_subcommand_from ${word}`).join("; and ");
      const start = `complete -c luksmith -f -n ${quoted(seen || "__fish_use_subcommand")}`;
      const choices = all.flat();
      const unchosen = `${seen}; and not __fish_seen_subcommand_from ${choices.join(" ")}`;
      return [
        ...commands.map(({ name, summary }) => `${start} -a ${name} -d ${quoted(summary)}`),
        ...options.map(({ flag, description, values }) => {
          const value =
            values === undefined ? "" : ` -r${values.length > 0 ? ` -a ${quoted(values.join(" "))}` : ""}`;
          return `${start} -l ${flag.slice(2)}${value} -d ${quoted(description)}`;
        }),
        ...(choices.length === 0
          ? []
          : [`complete -c luksmith -f -n ${quoted(unchosen)} -a ${quoted(choices.join(" "))}`]),
      ];
    })
    .join("\n");
}

/** For fish, where a backslash escapes itself and the apostrophe inside of single quotes, and nothing else. */
function quoted(text: string): string {
  return `'${text.replace(/[\\']/g, "\\$&")}'`;
}
