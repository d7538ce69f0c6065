import { LuksmithError } from "../error/luksmith-error.js";
import type { Problem } from "./problems.js";

/** SETTINGS_INVALID with every problem on a line. `origin`: where the settings are from, a path. */
export function settingsInvalid(origin: string, problems: readonly Problem[]): LuksmithError {
  const lines = problems.map(({ path, sentence }) => `${path || "settings"}: ${sentence}`);
  // what two branches of the schema require is missing once
  const distinct = problems.filter((_, index) => lines.indexOf(lines[index] ?? "") === index);
  return new LuksmithError("SETTINGS_INVALID", {
    what: `cannot use the settings from ${origin}`,
    why: [...new Set(lines)].join("\n"),
    hint: "luksmith settings schema prints what is allowed",
    fields: distinct.map(fieldOf),
  });
}

/** A place in the text is no place in the settings: it goes with the sentence. */
function fieldOf({ pointer, path, sentence }: Problem): { pointer: string; sentence: string } {
  return { pointer, sentence: pointer === "" && path !== "" ? `${path}: ${sentence}` : sentence };
}
