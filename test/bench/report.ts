import type { Findings, Memory, Row } from "./row.js";

/** Whether the median keeps the target, in words; empty where there is none. */
export function verdict({ ratio, target }: Row): string {
  if (target === undefined) return "";
  if (ratio.median <= target) return "met";
  return `MISSED by ${Math.ceil((ratio.median / target - 1) * 100)} %`;
}

/** `3.1×`; below one `1/62`. */
export function formatRatio(ratio: number): string {
  // what is left of a short time less another short one can be less than nothing
  if (ratio <= 0) return "0";
  return ratio < 0.95 ? `1/${digits(1 / ratio)}` : `${digits(ratio)}×`;
}

function digits(value: number): string {
  return value.toFixed(Math.abs(value) < 10 ? 1 : 0);
}

/** For a person. */
export function renderFindings({ rows, memory }: Findings): string {
  return [renderRows(rows), ...(memory.length === 0 ? [] : [renderMemory(memory)])].join("\n\n");
}

function renderRows(rows: readonly Row[]): string {
  const lines = rows.map((row) => {
    const { subject, baseline, target, ratio, rounds, processorRatio, scale } = row;
    const range = `${formatRatio(ratio.min)} to ${formatRatio(ratio.max)}`;
    const medians = `${digits(scale.subject)} : ${digits(scale.baseline)} ${scale.unit}`;
    const processor = processorRatio === undefined ? "" : formatRatio(processorRatio.median);
    const limit = target === undefined ? "" : formatRatio(target);
    return [
      subject,
      baseline,
      formatRatio(ratio.median),
      range,
      String(rounds),
      medians,
      processor,
      limit,
      verdict(row),
    ];
  });
  return table(
    ["subject", "compared with", "median", "range", "rounds", "medians", "cpu", "target", ""],
    lines,
  );
}

function renderMemory(memory: readonly Memory[]): string {
  const lines = memory.map(({ subject, process, peakMiB }) => [
    subject,
    process,
    String(Math.round(peakMiB)),
  ]);
  return table(["subject", "process", "peak MiB"], lines);
}

function table(heading: readonly string[], lines: readonly (readonly string[])[]): string {
  const all = [heading.map((cell) => cell.toUpperCase()), ...lines];
  const widths = heading.map((_, column) => Math.max(...all.map((line) => line[column]?.length ?? 0)));
  return all
    .map((line) =>
      line
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}
