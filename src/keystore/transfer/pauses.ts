import { setTimeout } from "node:timers/promises";

/** Milliseconds before the second look at a keystore, the third and so on. */
export type Pauses = readonly number[];

/** Long enough for a server that starts again or a replica that follows; short to who waits. */
export const PAUSES: Pauses = [250, 750];

/** Looks once and after every pause, until `look` answers without an error. @throws the last one's */
export async function insist<T>(look: () => Promise<T>, pauses: Pauses): Promise<T> {
  for (const pause of pauses) {
    try {
      return await look();
    } catch {
      await setTimeout(pause);
    }
  }
  return await look();
}
