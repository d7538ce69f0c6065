import type { ValidateFunction } from "ajv";
import { visible } from "../error/printable.js";

/** For a machine: `value` as its schema in schemas/cli/ has it, on stdout. Anything else would be a bug of ours. */
export function printJson(validate: ValidateFunction, value: unknown): void {
  process.stdout.write(renderJson(validate, value));
}

/** The same on one line, for an output of many. */
export function printJsonLine(validate: ValidateFunction, value: unknown): void {
  process.stdout.write(renderJson(validate, value, 0));
}

/** The same as text. */
export function renderJson(validate: ValidateFunction, value: unknown, indent = 2): string {
  const plain: unknown = JSON.parse(JSON.stringify(value));
  if (!validate(plain)) {
    const reasons = (validate.errors ?? []).map((e) => `${e.instancePath} ${e.message ?? e.keyword}`);
    throw new Error(`this output does not match its schema: ${reasons.join("; ")}`);
  }
  return `${escapeInvisible(JSON.stringify(plain, undefined, indent))}\n`;
}

/** JSON that says the same without characters that steer a terminal, which a guest's name may have. */
function escapeInvisible(json: string): string {
  const escape = (unit: string) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`;
  return json.replace(/(?!\n)[\p{C}\p{Zl}\p{Zp}]/gu, (character) => character.split("").map(escape).join(""));
}

/** One line or more; control characters in them, which a guest's name may have, are made visible. */
export function print(text: string): void {
  process.stdout.write(`${text.split("\n").map(visible).join("\n")}\n`);
}

/** Columns as wide as their widest cell, two spaces apart; the heading in capitals. */
export function printTable(heading: readonly string[], rows: readonly (readonly string[])[]): void {
  const all = [heading.map((cell) => cell.toUpperCase()), ...rows];
  const widths = heading.map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0)));
  for (const row of all)
    print(
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join("  ")
        .trimEnd(),
    );
}
