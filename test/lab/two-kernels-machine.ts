import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { RESULTS } from "./uml.js";

// eslint-disable-next-line @typescript-eslint/no-explicit-any -- what each takes is its own matter
export type Operations = Readonly<Record<string, (...args: any[]) => unknown>>;

interface Request {
  readonly operation: string;
  readonly args: readonly unknown[];
}

export interface Answer {
  readonly value?: unknown;
  readonly error?: string;
}

/** Operations that every program has. */
export const END = { now: "end", not: "ready" } as const;

export const requestFile = (number: number) => `request-${number}`;
export const answerFile = (number: number) => `answer-${number}`;

/** In one of two kernels: does what the test outside asks for, each thing as soon as it is asked, until it says end. */
export async function serveOperations(operations: Operations): Promise<void> {
  for (let number = 0; ; number++) {
    const request = await received(number);
    if (request.operation === END.now) {
      await answer(number, () => null);
      return;
    }
    void answer(number, () =>
      request.operation === END.not ? null : operations[request.operation]!(...request.args),
    );
  }
}

async function received(number: number): Promise<Request> {
  for (;;) {
    try {
      return JSON.parse(readFileSync(join(RESULTS, requestFile(number)), "utf8")) as Request;
    } catch {
      // not there yet, and there is no way to be told
      await sleep(20);
    }
  }
}

async function answer(number: number, run: () => unknown): Promise<void> {
  let answered: Answer;
  try {
    answered = { value: await run() };
  } catch (thrown) {
    answered = { error: thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown) };
  }
  const file = join(RESULTS, answerFile(number));
  writeFileSync(`${file}.new`, JSON.stringify(answered));
  renameSync(`${file}.new`, file);
}
