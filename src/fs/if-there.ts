import { errnoOf } from "../error/luksmith-error.js";

/**
 * What a look into /proc, /sys or /dev finds; undefined where there is nothing. Devices and processes come and go, also
 * between two looks.
 */
export function ifThere<T>(look: () => T): T | undefined {
  try {
    return look();
  } catch (thrown) {
    if (errnoOf(thrown) === undefined) throw thrown;
    return undefined;
  }
}
