/** Hands on what came of the work that was begun last: an answer that comes late says what is no longer so. */
export class Newest {
  #begun = 0;

  /** @returns undefined for work that a newer one has overtaken, whether it went well or not */
  async outcomeOf<Value>(work: Promise<Value>): Promise<Outcome<Value> | undefined> {
    this.#begun += 1;
    const turn = this.#begun;
    const outcome = await work.then(
      (value): Outcome<Value> => ({ ok: true, value }),
      (failure: unknown): Outcome<Value> => ({ ok: false, failure }),
    );
    return turn === this.#begun ? outcome : undefined;
  }
}

export type Outcome<Value> =
  { readonly ok: true; readonly value: Value } | { readonly ok: false; readonly failure: unknown };
