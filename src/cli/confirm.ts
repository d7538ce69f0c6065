import { isatty } from "node:tty";
import { createInterface } from "node:readline/promises";
import { LuksmithError } from "../error/luksmith-error.js";

/**
 * Has an administrator type `word` before something is lost; `option` is what does without.
 * @throws USAGE where there is no terminal to ask at, NOT_CONFIRMED if something else is typed
 */
export async function confirm(task: string, word: string, option = "--yes"): Promise<void> {
  if (!isatty(process.stdin.fd) || !isatty(process.stderr.fd)) {
    throw new LuksmithError("USAGE", {
      what: `cannot ask whether to ${task}`,
      why: "there is no terminal",
      hint: `say ${option} if you are sure`,
    });
  }
  const dialogue = createInterface({ input: process.stdin, output: process.stderr });
  const over = new Promise<string>((resolve) => dialogue.once("close", () => resolve("")));
  try {
    const answer = await Promise.race([dialogue.question(`Type ${word} to ${task}: `), over]);
    if (answer === word) return;
  } finally {
    dialogue.close();
  }
  throw new LuksmithError("NOT_CONFIRMED", { what: `did not ${task}`, why: `${word} was not typed` });
}
