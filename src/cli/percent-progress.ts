import type { Watcher } from "../convert/watcher.js";
import type { ConvertOutput } from "../generated/convert.js";
import validate from "../generated/validate-convert.cjs";
import { print, printJsonLine } from "./output.js";

/** Percent between two lines where nobody watches. */
const STRIDE = 10;
/** Back to the line's begin, and nothing in it. */
const CLEARED_LINE = "\r\u001b[K";
const BAR = 24;
const MIB = 1024 * 1024;

/** How far long work is: on a terminal one line that changes, elsewhere a line now and then; on standard error. */
export const WATCHER: Watcher = {
  done: (what) => print(`done: ${what}`),
  begin(task, bytes) {
    const isTerminal = process.stderr.isTTY;
    const speedAt = speedometer(bytes);
    let shown = 0;
    return {
      percent(percent) {
        if (isTerminal)
          process.stderr.write(
            `${CLEARED_LINE}${task}: ${bar(percent)} ${percent} %${inWords(speedAt(percent))}`,
          );
        else if (percent >= shown + STRIDE) {
          shown = percent - (percent % STRIDE);
          process.stderr.write(`${task}: ${shown} %${inWords(speedAt(percent))}\n`);
        }
      },
      [Symbol.dispose]() {
        if (isTerminal) process.stderr.write(CLEARED_LINE);
      },
    };
  },
};

/** Of a dry run, whose words say themselves that they are one. */
export const DRY_WATCHER: Watcher = { ...WATCHER, done: print };

/** The same for programs: one JSON object a line, on standard output. */
export function jsonWatcher(
  about: { readonly guest: string; readonly disk: string },
  manner: "apply" | "dry-run",
): Watcher {
  const say = (line: Omit<ConvertOutput, "guest" | "disk">) => {
    const { event, ...rest } = line;
    printJsonLine(validate, { event, ...about, ...rest } satisfies ConvertOutput);
  };
  return {
    done(what) {
      if (manner === "apply") say({ event: "done", what });
      else say({ event: "would", what: what.replace(/^would /, "") });
    },
    begin(task, bytes) {
      const speedAt = speedometer(bytes);
      return {
        percent(percent) {
          say({ event: "progress", task, percent, ...speedAt(percent) });
        },
        [Symbol.dispose]() {
          // a line is whole when it is written
        },
      };
    },
  };
}

interface Speed {
  readonly bytesPerSecond?: number;
  readonly secondsLeft?: number;
}

/** Says how fast it went so far, once there is something to tell it from. */
function speedometer(bytes: bigint | undefined): (percent: number) => Speed {
  const begin = performance.now();
  return (percent) => {
    const seconds = (performance.now() - begin) / 1000;
    if (percent <= 0 || seconds <= 0) return {};
    const secondsLeft = Math.round((seconds * (100 - percent)) / percent);
    if (bytes === undefined) return { secondsLeft };
    return { bytesPerSecond: Math.round((Number(bytes) * percent) / 100 / seconds), secondsLeft };
  };
}

function inWords({ bytesPerSecond, secondsLeft }: Speed): string {
  const speed = bytesPerSecond === undefined ? "" : `, ${(bytesPerSecond / MIB).toFixed(1)} MiB/s`;
  return secondsLeft === undefined || secondsLeft === 0 ? speed : `${speed}, ${duration(secondsLeft)} left`;
}

/** `42 s`, `12 min`, `3 h 5 min`. */
function duration(seconds: number): string {
  if (seconds < 90) return `${seconds} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 90 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

function bar(percent: number): string {
  const filled = Math.round((percent * BAR) / 100);
  return `[${"#".repeat(filled)}${".".repeat(BAR - filled)}]`;
}
