import type { Percent } from "./volume-copier.js";

/** Hears how far it is. */
export interface Watcher {
  /** What was done, for people. */
  done(what: string): void;
  /**
   * A long task begins; whoever has it says how far it is, and ends it.
   * @param bytes that it works on, where it is known: for its speed
   */
  begin(task: string, bytes?: bigint): Disposable & { readonly percent: Percent };
}
