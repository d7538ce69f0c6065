import { connect, type Socket } from "node:net";
import { createInterface, type Interface } from "node:readline";
import { LuksmithError } from "../../../error/luksmith-error.js";
import { systemErrorOf } from "../../../fs/system-error.js";

interface Message {
  readonly return?: unknown;
  readonly error?: { readonly class: string; readonly desc: string };
}

/** What a command answered; `desc` in QEMU's words. */
export type QmpAnswer =
  { readonly kind: "done"; readonly value: unknown } | { readonly kind: "refused"; readonly desc: string };

/** Milliseconds for one answer: an enlargement may wait for the storage. */
const PATIENCE = 20_000;

/** A connection to the QEMU Machine Protocol of a storage daemon, which has one client at a time. */
export class Qmp implements Disposable {
  readonly #lines: AsyncIterator<string>;

  private constructor(
    private readonly socket: Socket,
    lines: Interface,
  ) {
    this.#lines = lines[Symbol.asyncIterator]();
  }

  /** @throws HOST_UNAVAILABLE if nobody answers there */
  static async open(path: string): Promise<Qmp> {
    const socket = connect(path);
    socket.setTimeout(PATIENCE, () => socket.destroy(new Error("it does not answer")));
    // readline hands the error on to whoever waits for a line
    const qmp = new Qmp(socket, createInterface({ input: socket }));
    try {
      // its greeting
      await qmp.message();
      await qmp.execute("qmp_capabilities");
      return qmp;
    } catch (thrown) {
      qmp[Symbol.dispose]();
      throw thrown;
    }
  }

  /** @throws HOST_UNAVAILABLE */
  async execute(command: string, args: Readonly<Record<string, string | number>> = {}): Promise<QmpAnswer> {
    this.socket.write(`${JSON.stringify({ execute: command, arguments: args })}\n`);
    for (;;) {
      const { return: value, error } = await this.message();
      if (error !== undefined) return { kind: "refused", desc: error.desc };
      // all else is an event
      if (value !== undefined) return { kind: "done", value };
    }
  }

  private async message(): Promise<Message> {
    try {
      const next: IteratorResult<string, unknown> = await this.#lines.next();
      if (next.done !== true) return JSON.parse(next.value) as Message;
    } catch (thrown) {
      throw unavailable(systemErrorOf(thrown)?.text ?? String(thrown));
    }
    throw unavailable("it hung up");
  }

  [Symbol.dispose](): void {
    this.socket.destroy();
  }
}

function unavailable(why: string): LuksmithError {
  return new LuksmithError("HOST_UNAVAILABLE", {
    what: "cannot speak with the storage daemon of an exported volume",
    why,
  });
}
