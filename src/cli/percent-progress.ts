import type { Watcher } from "../convert/convert-disk.js";
import { print } from "./output.js";

/** Percent between two lines where nobody watches. */
const STRIDE = 10;
/** Back to the line's begin, and nothing in it. */
const CLEARED_LINE = "\r\u001b[K";

/** How far long work is: on a terminal one line that changes, elsewhere a line now and then; on standard error. */
export const WATCHER: Watcher = {
  done: (what) => print(`done: ${what}`),
  begin(task) {
    const isTerminal = process.stderr.isTTY;
    let shown = 0;
    return {
      percent(percent) {
        if (isTerminal) process.stderr.write(`${CLEARED_LINE}${task}: ${percent} %`);
        else if (percent >= shown + STRIDE) {
          shown = percent - (percent % STRIDE);
          process.stderr.write(`${task}: ${shown} %\n`);
        }
      },
      [Symbol.dispose]() {
        if (isTerminal) process.stderr.write(CLEARED_LINE);
      },
    };
  },
};
