import type { ValidateFunction } from "ajv";
import { visible } from "../error/printable.js";

/** For a machine: `value` as its schema in schemas/cli/ has it, on stdout. Anything else would be a bug of ours. */
export function printJson(validate: ValidateFunction, value: unknown): void {
  const plain: unknown = JSON.parse(JSON.stringify(value));
  if (!validate(plain)) {
    const reasons = (validate.errors ?? []).map((e) => `${e.instancePath} ${e.message ?? e.keyword}`);
    throw new Error(`this output does not match its schema: ${reasons.join("; ")}`);
  }
  print(JSON.stringify(plain, undefined, 2));
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

/** `64 MiB`, `1.5 GiB`: binary units, one decimal at most. */
export function formatBytes(bytes: bigint | number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let value = Number(bytes);
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${Number.isInteger(value) ? value : value.toFixed(1)} ${units[unit] ?? ""}`;
}
