import { isIPv6 } from "node:net";
import type { SettingsOf } from "../index.js";
import type { Budget } from "../remote/budget.js";
import { isConnectionFailure, noAnswer, type Place } from "../remote/failures.js";
import type { Progress } from "./connection.js";
import { type Asker, connectionFailedAs, Refusal } from "./failures.js";
import type { Response, ResponseItem } from "./messages.js";
import type { Operation } from "./operations.js";
import { Session } from "./session.js";
import { REASON } from "./tags.js";
import type { Version } from "./versions.js";

/** What became of one of several operations that were asked together. */
export type Outcome =
  | { readonly kind: "done"; readonly value: unknown }
  | { readonly kind: "refused"; readonly refusal: Refusal };

/** Asks that share a message at most, so that even the longest passphrases stay far below the limit of an answer. */
const BATCH_LIMIT = 32;
const ATTEMPTS = 3;
/** Milliseconds before the second attempt; each further one waits twice as long. */
const FIRST_PAUSE = 100;

/**
 * KMIP to one server over one connection that is kept. What is asked while an answer is awaited, or in the same turn of
 * the event loop, goes out together: many keys cost about as many round trips as one.
 */
export class KmipClient {
  readonly place: Place;
  #asker: Asker;
  readonly #settings: SettingsOf<"kmip">;
  #session: Session | undefined;
  #queue: Ask[] = [];
  #busy = false;
  #progress: Progress | undefined;

  constructor(settings: SettingsOf<"kmip">) {
    this.#settings = settings;
    const { name, host, port } = settings;
    this.place = { name, address: `kmip://${isIPv6(host) ? `[${host}]` : host}:${port}` };
    this.#asker = { user: settings.user };
  }

  /** Whose credentials the last connection was made with. */
  get asker(): Asker {
    return this.#asker;
  }

  /** @throws Refusal, and the errors of remote/failures.ts */
  async ask<T>(operation: Operation<T>, budget: Budget): Promise<T> {
    const [outcome] = await this.askTogether([operation], budget);
    if (outcome?.kind === "done") return outcome.value as T;
    throw outcome?.refusal ?? new Error("an operation has no outcome");
  }

  /** In one message and in their order: whoever is killed has asked for all or for none. Throws as `ask`. */
  askTogether(operations: readonly Operation<unknown>[], budget: Budget): Promise<Outcome[]> {
    return new Promise((resolve, reject) => {
      const ask = new Ask(operations, budget, resolve, reject);
      const late = () => ask.reject(noAnswer(this.place, "it did not answer in time"));
      budget.signal.addEventListener("abort", late);
      void ask.settled.then(() => budget.signal.removeEventListener("abort", late));
      if (budget.signal.aborted) late();
      this.#queue.push(ask);
      this.#pump();
    });
  }

  /** Does `work` over a new connection, and tells how far that comes. */
  async reconnecting(progress: Progress, work: () => Promise<void>): Promise<void> {
    this.#drop();
    this.#progress = progress;
    try {
      await work();
    } finally {
      this.#progress = undefined;
    }
  }

  #pump(): void {
    if (this.#busy || this.#queue.length === 0) return;
    this.#busy = true;
    // what else is asked in this turn goes out as well
    setImmediate(() => {
      void this.#perform(this.#nextBatch()).finally(() => {
        this.#busy = false;
        this.#pump();
      });
    });
  }

  #nextBatch(): Ask[] {
    this.#queue = this.#queue.filter(({ done }) => !done);
    const [first] = this.#queue;
    if (first === undefined) return [];
    const batch = first.sharesMessages
      ? this.#queue.filter((ask) => ask.sharesMessages).slice(0, BATCH_LIMIT)
      : [first];
    this.#queue = this.#queue.filter((ask) => !batch.includes(ask));
    return batch;
  }

  async #perform(batch: readonly Ask[]): Promise<void> {
    if (batch.length === 0) return;
    const abandoned = new AbortController();
    void Promise.all(batch.map(({ settled }) => settled)).then(() => abandoned.abort());
    let sent = false;
    try {
      const session = await this.#connected(abandoned.signal);
      sent = true;
      const operations = batch.flatMap((ask) => ask.operations);
      await session.exchange(operations, abandoned.signal, (response, version) =>
        this.#deliver(batch, response, version),
      );
    } catch (thrown) {
      this.#drop();
      const error = connectionFailedAs(this.place, thrown, this.#asker);
      for (const ask of batch) this.#tryAgain(ask, error, sent);
    }
  }

  async #connected(signal: AbortSignal): Promise<Session> {
    if (this.#session?.usable === true) return this.#session;
    this.#drop();
    this.#session = await Session.open({
      place: this.place,
      settings: this.#settings,
      signal,
      progress: this.#progress,
      asking: (asker) => {
        this.#asker = asker;
      },
    });
    return this.#session;
  }

  #deliver(batch: readonly Ask[], response: Response, version: Version): void {
    if (isTooMuch(response) && batch.length > 1) {
      for (const ask of batch) ask.alone = true;
      this.#queue.unshift(...batch);
      return;
    }
    const items = response.kind === "refused" ? [] : [...response.items];
    for (const ask of batch) {
      const answers =
        response.kind === "refused"
          ? ask.operations.map(() => response)
          : items.splice(0, ask.operations.length);
      // nobody would dispose of a passphrase that comes too late
      if (ask.done) continue;
      try {
        ask.resolve(answers.map((item, index) => outcomeOf(ask.operations[index], item, version)));
      } catch (thrown) {
        ask.reject(connectionFailedAs(this.place, thrown, this.#asker));
      }
    }
  }

  /** After a pause; only what may be done twice, or was not sent. */
  #tryAgain(ask: Ask, error: unknown, sent: boolean): void {
    const pause = FIRST_PAUSE * 2 ** ask.attempts++;
    const safe = !sent || ask.operations.every(({ manner }) => manner !== "once");
    if (!safe || ask.attempts >= ATTEMPTS || ask.budget.left <= 2 * pause || !isConnectionFailure(error)) {
      ask.reject(error);
      return;
    }
    void ask.budget.pause(pause).then(() => {
      this.#queue.push(ask);
      this.#pump();
    });
  }

  #drop(): void {
    this.#session?.close();
    this.#session = undefined;
  }
}

/** Operations that go into one message, in their order. */
class Ask {
  readonly resolve: (outcomes: Outcome[]) => void;
  readonly reject: (thrown: unknown) => void;
  /** Fulfilled when this has been answered, or given up. */
  readonly settled: Promise<void>;
  done = false;
  attempts = 0;
  /** It was in a message that the server did not take as a whole. */
  alone = false;

  constructor(
    readonly operations: readonly Operation<unknown>[],
    readonly budget: Budget,
    resolve: (outcomes: Outcome[]) => void,
    reject: (thrown: unknown) => void,
  ) {
    let settle: () => void;
    this.settled = new Promise((fulfil) => {
      settle = fulfil;
    });
    const once =
      <T>(then: (result: T) => void) =>
      (result: T) => {
        this.done = true;
        settle();
        then(result);
      };
    this.resolve = once(resolve);
    this.reject = once(reject);
  }

  get sharesMessages(): boolean {
    return !this.alone && this.operations.every(({ manner }) => manner !== "once");
  }
}

/** Too much at once, or a server that takes no batches. Who we are does not depend on that. */
function isTooMuch(response: Response): boolean {
  return response.kind === "refused" && response.reason !== REASON.AuthenticationNotSuccessful;
}

function outcomeOf(operation: Operation<unknown> | undefined, item: ResponseItem, version: Version): Outcome {
  if (operation === undefined) throw new Error("an answer belongs to no operation");
  if (item.kind === "done") return { kind: "done", value: operation.parse(item.payload, version) };
  return { kind: "refused", refusal: new Refusal(operation, item.reason, item.message) };
}
