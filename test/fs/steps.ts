import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";

/** The steps of a process that is to be killed before one of them. */
export class Steps {
  taken = 0;

  /** @param killedBefore the number of the step that is not taken, counted from 1; 0 for none */
  constructor(private readonly killedBefore: number) {}

  take(): void {
    if (++this.taken === this.killedBefore) this.die();
  }

  die(): void {
    process.kill(process.pid, "SIGKILL");
  }

  /** Each call of these functions of node:fs is a step, whoever imports them. */
  countChanges(names: readonly (keyof typeof fs)[]): void {
    this.count(fs, names);
    syncBuiltinESMExports();
  }

  /** Each call of these methods is a step. */
  count(owner: object, names: readonly string[]): void {
    for (const name of names) {
      const original = Reflect.get(owner, name) as (...args: unknown[]) => unknown;
      const take = () => this.take();
      Reflect.set(owner, name, function (this: unknown, ...args: unknown[]) {
        take();
        return original.apply(this, args);
      });
    }
  }
}
