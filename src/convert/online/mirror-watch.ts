import { setTimeout } from "node:timers/promises";
import { LuksmithError } from "../../error/luksmith-error.js";
import type { DiskMirror, MirrorState } from "../../host/disk-mirror.js";
import type { Guest } from "../../host/host-adapter.js";
import type { Percent } from "../volume-copier.js";

/** Milliseconds between two looks: libvirt answers in some tens. */
const PAUSE = 500;

/** Milliseconds that libvirtd may be away, while the guests and their copies go on without it. */
const PATIENCE = 60_000;

export interface Watched {
  readonly guest: Pick<Guest, "id" | "name">;
  readonly disk: string;
  readonly percent: Percent;
  /** Set when the copy is to end before its time. */
  readonly interruption: Interruption;
}

/** Looks again and again until there is no copy any more, or nothing left to be copied, or somebody interrupts. */
export async function watchMirror(
  mirror: DiskMirror,
  { guest, disk, percent, interruption }: Watched,
): Promise<MirrorState> {
  for (;;) {
    const state = await patiently(() => mirror.look(guest, disk));
    if (state.kind === "copying" && state.total > 0n) percent(Number((state.done * 100n) / state.total));
    // one that ends is over at the next look
    if (state.kind !== "copying" && state.kind !== "busy") return state;
    if (interruption.signal !== undefined) return state;
    await setTimeout(PAUSE);
  }
}

/** Tries again while the host manager is away. @throws HOST_UNAVAILABLE, and what `work` throws */
export async function patiently<T>(work: () => Promise<T>): Promise<T> {
  const end = Date.now() + PATIENCE;
  for (;;) {
    try {
      return await work();
    } catch (thrown) {
      const isAway = thrown instanceof LuksmithError && thrown.code === "HOST_UNAVAILABLE";
      if (!isAway || Date.now() > end) throw thrown;
      await setTimeout(PAUSE);
    }
  }
}

/** Ctrl-C and a polite kill, as long as it is not disposed of: the process stays, to put things right. */
export class Interruption implements Disposable {
  signal: NodeJS.Signals | undefined;
  readonly #hear = (signal: NodeJS.Signals): void => {
    this.signal = signal;
  };

  constructor() {
    for (const signal of SIGNALS) process.on(signal, this.#hear);
  }

  [Symbol.dispose](): void {
    for (const signal of SIGNALS) process.removeListener(signal, this.#hear);
  }
}

const SIGNALS = ["SIGINT", "SIGTERM"] as const;
