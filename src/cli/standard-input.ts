import { readFileSync } from "node:fs";
import { isatty } from "node:tty";
import { LuksmithError } from "../error/luksmith-error.js";

const STDIN = 0;

/**
 * All that comes on standard input.
 * @throws USAGE instead of waiting for somebody to type it, or going on with nothing but white space
 */
export function readStandardInput(text: { readonly what: string; readonly hint: string }): Buffer {
  const bytes = isatty(STDIN) ? undefined : readFileSync(STDIN);
  if (bytes?.some((byte) => !WHITE_SPACE.has(byte))) return bytes;
  throw new LuksmithError("USAGE", {
    ...text,
    why: bytes === undefined ? "standard input is a terminal" : "nothing came on standard input",
  });
}

const WHITE_SPACE: ReadonlySet<number> = new Set(Buffer.from(" \t\r\n"));
