import type { Secret } from "../../secret/secret.js";
import type { SettingsOf } from "../index.js";
import { readCredential } from "../remote/credential-file.js";
import { badAnswer, type Place } from "../remote/failures.js";
import { tlsOptions } from "../remote/tls.js";
import { certificateFacts } from "./client-certificate.js";
import { Connection, type Progress } from "./connection.js";
import { type Asker, Refusal } from "./failures.js";
import { decodeResponse, encodeRequest, type Response } from "./messages.js";
import { discoverVersions, type Operation } from "./operations.js";
import { REASON } from "./tags.js";
import { type Version, VERSIONS } from "./versions.js";

export interface SessionOptions {
  readonly place: Place;
  readonly settings: SettingsOf<"kmip">;
  /** Ends the attempt. */
  readonly signal: AbortSignal;
  readonly progress?: Progress | undefined;
  /** Hears who asks, before the server does. */
  readonly asking: (asker: Asker) => void;
}

/** A connection whose server speaks a version of KMIP that we do, and the credentials that go with each message. */
export class Session {
  #version: Version = VERSIONS[0];

  private constructor(
    private readonly connection: Connection,
    private readonly user: string | undefined,
    private readonly password: Secret | undefined,
  ) {}

  /** Reads certificates and password anew, so that what was renewed is used. Throws as `exchange`, and Refusal. */
  static async open({ place, settings, signal, progress, asking }: SessionOptions): Promise<Session> {
    const { name, tls, user, passwordFile, version } = settings;
    const options = tlsOptions(tls, name);
    asking({ user, certificate: options.cert && certificateFacts(options.cert, new Date()) });
    const password = passwordFile === undefined ? undefined : readCredential(passwordFile, name);
    try {
      const connection = await Connection.open(place, settings, options, signal, progress);
      const session = new Session(connection, user, password);
      try {
        session.#version = version === "negotiated" ? await session.#negotiate(place, signal) : version;
        return session;
      } catch (thrown) {
        connection.close();
        throw thrown;
      }
    } catch (thrown) {
      password?.dispose();
      throw thrown;
    }
  }

  get usable(): boolean {
    return this.connection.usable;
  }

  /**
   * @param use borrows the response, whose bytes are wiped when it returns
   * @throws what a connection throws, TtlvError, and what `use` throws
   */
  async exchange<T>(
    operations: readonly Operation<unknown>[],
    signal: AbortSignal,
    use: (response: Response, version: Version) => T,
  ): Promise<T> {
    const version = this.#version;
    const message = encodeRequest(
      version,
      operations.map((operation) => ({ operation: operation.name, payload: operation.payload(version) })),
      this.user === undefined ? undefined : { user: this.user, password: this.password },
    );
    let answer: Buffer | undefined;
    try {
      answer = await this.connection.exchange(message, signal);
      const names = operations.map(({ name }) => name);
      return use(decodeResponse(answer, names), version);
    } finally {
      message.fill(0);
      answer?.fill(0);
    }
  }

  close(): void {
    this.connection.close();
    this.password?.dispose();
  }

  /** Asks in the version that we like best, and in the others while the server does not know it. */
  async #negotiate(place: Place, signal: AbortSignal): Promise<Version> {
    for (const version of VERSIONS) {
      this.#version = version;
      const theirs = await this.exchange([discoverVersions()], signal, versionsIn);
      const agreed = VERSIONS.find((ours) => theirs?.includes(ours));
      if (agreed !== undefined) return agreed;
      if (theirs !== undefined) break;
    }
    throw badAnswer(place, `it speaks none of the KMIP versions ${VERSIONS.join(", ")}`);
  }
}

/** Undefined if the server refuses to say. @throws Refusal of who asks */
function versionsIn(response: Response, version: Version): readonly string[] | undefined {
  const operation = discoverVersions();
  const item = response.kind === "refused" ? response : response.items[0];
  if (item?.kind === "done") return operation.parse(item.payload, version);
  if (item?.reason !== REASON.AuthenticationNotSuccessful) return undefined;
  throw new Refusal(operation, item.reason, item.message);
}
