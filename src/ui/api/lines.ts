/** Text that comes in pieces, as lines without their ends. */
export class Lines {
  #begun = "";

  constructor(private readonly onLine: (line: string) => void) {}

  add(text: string): void {
    // what came before is not looked at again: a line may come in many pieces
    const [end, ...lines] = text.split("\n");
    this.#begun += end ?? "";
    for (const begin of lines) {
      this.onLine(this.#begun);
      this.#begun = begin;
    }
  }

  /** There is no more: what has no end is a line as well. */
  end(): void {
    if (this.#begun !== "") this.onLine(this.#begun);
    this.#begun = "";
  }
}
