/** How far long work is: one line on standard error that changes, if that is a terminal; else nothing. */
export class Progress implements Disposable {
  #done = 0;

  constructor(
    private readonly task: string,
    private readonly total: number,
  ) {
    this.#show();
  }

  step(): void {
    this.#done++;
    this.#show();
  }

  /** Takes the line away, so that others can be written. */
  [Symbol.dispose](): void {
    if (process.stderr.isTTY) process.stderr.write(CLEARED_LINE);
  }

  #show(): void {
    if (process.stderr.isTTY)
      process.stderr.write(`${CLEARED_LINE}${this.task}: ${this.#done} of ${this.total}`);
  }
}

/** Back to the line's begin, and nothing in it. */
const CLEARED_LINE = "\r\u001b[K";
