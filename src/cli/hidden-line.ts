import { ReadStream } from "node:tty";
import { LuksmithError } from "../error/luksmith-error.js";

const LIMIT = 1024;
const [CTRL_C, CTRL_D, BACKSPACE, DELETE] = [0x03, 0x04, 0x08, 0x7f];

/**
 * A line that somebody types at the terminal on standard input, which does not show it; the caller wipes it.
 * @throws USAGE if he ends it with Ctrl-C or Ctrl-D
 */
export async function readHiddenLine(prompt: string): Promise<Buffer> {
  const terminal = new ReadStream(0);
  const line = Buffer.alloc(LIMIT);
  let length = 0;
  process.stderr.write(prompt);
  terminal.setRawMode(true);
  try {
    for await (const chunk of terminal as AsyncIterable<Buffer>) {
      for (const byte of chunk) {
        if (byte === 0x0d || byte === 0x0a) return line.subarray(0, length);
        if (byte === CTRL_C || byte === CTRL_D) throw given();
        if (byte === BACKSPACE || byte === DELETE) length = Math.max(0, length - 1);
        else if (length < LIMIT) line[length++] = byte;
      }
      chunk.fill(0);
    }
    throw given();
  } finally {
    terminal.setRawMode(false);
    terminal.destroy();
    process.stderr.write("\n");
  }
}

function given(): LuksmithError {
  return new LuksmithError("USAGE", { what: "nothing was typed", hint: "type it and press Enter" });
}
