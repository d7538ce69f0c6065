/** What is known of a PIN: `trying` is written before a login, so that it stays where the answer is lost. */
export type PinState = "none" | "trying" | "rejected" | "accepted";

/** Bytes. All states have one length: each is written over the other, which needs no space on the disk. */
const LENGTH = 200;

/** The whole text of the memory. `stamp` tells the PIN file from what it is after any change. */
export function pinMemory(state: PinState, stamp: string): string {
  return `${`${state} ${stamp}`.padEnd(LENGTH)}\n`;
}
