import { once } from "node:events";
import { isIP } from "node:net";
import { connect, type TLSSocket } from "node:tls";
import { errnoOf } from "../../error/luksmith-error.js";
import { noAnswer, type Place } from "../remote/failures.js";
import type { TlsOptions } from "../remote/tls.js";
import { HEADER_BYTES, messageLength, TtlvError } from "./ttlv.js";

export interface Target {
  readonly host: string;
  readonly port: number;
}

/** A step of making a connection that has succeeded. */
export type Progress = (step: "reached" | "TLS") => void;

/** Milliseconds without a message after which a connection is closed: a network forgets it silently some day. */
const IDLE = 15_000;

/**
 * A TLS connection on which one message at a time is answered. While it waits for nothing it keeps no process from
 * ending. Everything it throws is Node's, `TtlvError` or KEYSTORE_UNAVAILABLE; whatever is thrown, it is closed.
 */
export class Connection {
  #waiting: { answered(answer: Buffer): void; failed(thrown: Error): void } | undefined;
  #failure: Error | undefined;
  #chunks: Buffer[] = [];
  #length = 0;
  #answered = false;

  private constructor(
    private readonly place: Place,
    private readonly socket: TLSSocket,
  ) {
    socket.on("data", (chunk: Buffer) => this.#take(chunk));
    socket.on("error", (thrown: Error) => this.#fail(this.#answered ? damaged(place, thrown) : thrown));
    socket.on("close", () => this.#fail(noAnswer(place, "it closed the connection")));
    socket.setTimeout(IDLE, () => {
      if (this.#waiting === undefined) this.close();
    });
  }

  /** @param signal ends the attempt */
  static async open(
    place: Place,
    { host, port }: Target,
    options: TlsOptions,
    signal: AbortSignal,
    progress?: Progress,
  ): Promise<Connection> {
    const socket = connect({ host, port, ...(isIP(host) === 0 && { servername: host }), ...options });
    socket.on("connect", () => progress?.("reached"));
    try {
      await once(socket, "secureConnect", { signal });
    } catch (thrown) {
      // whatever else it has to say is of no interest
      socket.on("error", () => undefined).destroy();
      throw thrown;
    }
    progress?.("TLS");
    socket.setNoDelay(true);
    return new Connection(place, socket);
  }

  get usable(): boolean {
    return this.#failure === undefined;
  }

  /** The answer, at most 1 MiB, which the caller wipes. `message` stays the caller's, who wipes it afterwards. */
  async exchange(message: Buffer, signal: AbortSignal): Promise<Buffer> {
    if (this.#failure !== undefined) throw this.#failure;
    if (signal.aborted) throw this.#lost();
    this.socket.ref();
    const abort = () => this.#fail(this.#lost());
    signal.addEventListener("abort", abort);
    try {
      return await new Promise<Buffer>((answered, failed) => {
        this.#waiting = { answered, failed };
        this.socket.write(message);
      });
    } finally {
      signal.removeEventListener("abort", abort);
      this.#waiting = undefined;
      this.socket.unref();
    }
  }

  close(): void {
    this.#fail(noAnswer(this.place, "the connection was closed"));
  }

  #take(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#length += chunk.length;
    try {
      if (this.#waiting === undefined) throw new TtlvError("it says something without being asked");
      if (this.#length < HEADER_BYTES) return;
      if (this.#chunks.length > 1 && (this.#chunks[0]?.length ?? 0) < HEADER_BYTES) {
        this.#chunks = [joined(this.#chunks)];
      }
      const length = messageLength(this.#chunks[0] ?? chunk);
      if (this.#length < length) return;
      if (this.#length > length) throw new TtlvError("it is longer than it says");
      const answer = joined(this.#chunks);
      [this.#chunks, this.#length] = [[], 0];
      this.#answered = true;
      this.#waiting.answered(answer);
    } catch (thrown) {
      this.#fail(thrown instanceof Error ? thrown : new TtlvError(String(thrown)));
    }
  }

  #fail(thrown: Error): void {
    if (this.#failure !== undefined) return;
    this.#failure = thrown;
    for (const chunk of this.#chunks) chunk.fill(0);
    this.#chunks = [];
    this.socket.destroy();
    this.#waiting?.failed(thrown);
  }

  #lost(): Error {
    return noAnswer(this.place, "it did not answer in time");
  }
}

/** Who has answered has accepted our certificate, and we his: what TLS complains of now happened on the way. */
function damaged(place: Place, thrown: Error): Error {
  const code = errnoOf(thrown) ?? "";
  return /^(ERR_SSL|EPROTO)/.test(code)
    ? noAnswer(place, `the connection is damaged (${code})`, thrown)
    : thrown;
}

/** One buffer of all, which are wiped: what comes in pieces would be here twice. */
function joined(chunks: readonly Buffer[]): Buffer {
  const whole = Buffer.concat(chunks);
  for (const chunk of chunks) chunk.fill(0);
  return whole;
}
