/** Calls once, when nothing has been going on for a while. */
export class IdleTimer implements Disposable {
  #busy = 0;
  #timer: NodeJS.Timeout | undefined;

  /** @param patience milliseconds */
  constructor(
    private readonly patience: number,
    private readonly onIdle: () => void,
  ) {
    this.#wait();
  }

  /** Something goes on for as long as the work takes. */
  async during<T>(work: () => Promise<T>): Promise<T> {
    this.#busy += 1;
    clearTimeout(this.#timer);
    try {
      return await work();
    } finally {
      this.#busy -= 1;
      if (this.#busy === 0) this.#wait();
    }
  }

  [Symbol.dispose](): void {
    this.#busy = Infinity;
    clearTimeout(this.#timer);
  }

  #wait(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(this.onIdle, this.patience);
  }
}
