import type { Command } from "commander";
import { EXIT_CODES } from "../../src/cli/program.js";

/** luksmith(1), made of the very commands and options that the program takes, so that it cannot tell of others. */
export function manPage(program: Command, version: string): string {
  const commands = visibleCommands(program);
  return [
    `.TH LUKSMITH 1 "" "Luksmith ${version}" "Luksmith"`,
    ".SH NAME",
    "luksmith \\- LUKS keys for every disk of every virtual machine",
    ".SH SYNOPSIS",
    ...[
      "[\\fIOPTION\\fR]... \\fICOMMAND\\fR [\\fIARGUMENT\\fR]...",
      "\\fICOMMAND\\fR \\fB\\-\\-help\\fR",
    ].flatMap((words) => [".B luksmith", words, ".br"]),
    ".SH DESCRIPTION",
    roff(program.description()),
    "Its hooks fire by themselves when the host manager, libvirt or Proxmox VE, starts a guest; this command installs",
    "them, looks at guests, keys and settings, and helps where something went wrong.",
    ".SH OPTIONS",
    ...options(program),
    ".SH COMMANDS",
    ...commands.flatMap((command) => [`.SS "${roff(titleOf(command))}"`, ...body(command)]),
    '.SH "EXIT STATUS"',
    ...exitCodes(),
    ".SH FILES",
    ...FILES.flatMap(([path, text]) => [".TP", `.I ${roff(path)}`, roff(text)]),
    ".SH SEE ALSO",
    ".BR cryptsetup (8),",
    ".BR qemu\\-img (1)",
    ".PP",
    "Its documentation is in",
    ".IR /usr/share/doc/luksmith .",
    "",
  ].join("\n");
}

const FILES = [
  ["/etc/luksmith/settings.json", "Settings, where the host manager is libvirt."],
  ["/etc/pve/luksmith/settings.json", "Settings of a Proxmox VE cluster."],
  ["/etc/pve/storage.cfg", "Encrypted storages of Proxmox VE: sections of the type luksmith."],
  ["/run/luksmith", "What guests that start or run need, in memory."],
] as const;

/** Those that do something themselves, and not those that only group others. */
function visibleCommands(command: Command): Command[] {
  const visible = command.createHelp().visibleCommands(command);
  return visible.flatMap((child) => {
    if (child.name() === "help") return [];
    return child.commands.length === 0 ? [child] : visibleCommands(child);
  });
}

function titleOf(command: Command): string {
  // without the name of the program, which every title would begin with
  return command
    .createHelp()
    .commandUsage(command)
    .replace(/^luksmith /, "")
    .replace(" [options]", "");
}

function body(command: Command): string[] {
  const help = command.createHelp();
  const given = help.visibleArguments(command);
  return [
    roff(command.description() || command.summary()),
    ...given.flatMap((argument) => [
      ".TP",
      `.I ${roff(help.argumentTerm(argument))}`,
      roff(help.argumentDescription(argument)),
    ]),
    ...options(command),
  ];
}

function options(command: Command): string[] {
  const help = command.createHelp();
  return help
    .visibleOptions(command)
    .filter(({ long }) => long !== "--help" || command.parent === null)
    .flatMap((option) => [
      ".TP",
      `.B ${roff(help.optionTerm(option))}`,
      roff(help.optionDescription(option)),
    ]);
}

function exitCodes(): string[] {
  const lines = [...EXIT_CODES.matchAll(/^ +(\d)  (.*)$/gm)];
  return lines.flatMap(([, code = "", text = ""]) => [".TP", `.B ${code}`, roff(text)]);
}

/** Text, as roff takes it: no character of it is a request. */
function roff(text: string): string {
  return text
    .replaceAll("\\", "\\e")
    .replaceAll("-", "\\-")
    .replaceAll('"', "\\(dq")
    .replaceAll("'", "\\(aq")
    .replaceAll("`", "\\(ga")
    .replace(/[^\p{ASCII}]/gu, (character) => `\\[u${hex(character)}]`)
    .replace(/^(?=\.)/gm, "\\&")
    .replace(/\n+/g, "\n.br\n");
}

/** The number of a character as groff names it: four digits at least. */
function hex(character: string): string {
  return (character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0");
}
