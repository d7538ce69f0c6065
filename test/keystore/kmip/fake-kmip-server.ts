import { once } from "node:events";
import { readFileSync } from "node:fs";
import type { AddressInfo, Socket } from "node:net";
import { createServer } from "node:tls";
import {
  all,
  bytes,
  enumeration,
  integer,
  optional,
  required,
  structure,
  text,
} from "../../../src/keystore/kmip/fields.js";
import { OPERATION, type OperationName, TAG } from "../../../src/keystore/kmip/tags.js";
import { decode, encode, type Item } from "../../../src/keystore/kmip/ttlv.js";
import { versionItem, versionText } from "../../../src/keystore/kmip/versions.js";
import type { KeyPair } from "../../lab/certificates.js";

/** One operation that was asked, with what belongs to the whole message. */
export interface Asked {
  readonly operation: OperationName;
  /** Unique batch item ID. */
  readonly id: Buffer;
  readonly payload: readonly Item[];
  readonly version: string;
  readonly user: string | undefined;
  readonly password: string | undefined;
}

export interface Refused {
  readonly reason: number;
  readonly message?: string;
}

/** A payload, or a refusal. */
export type Answer = readonly Item[] | Refused;

/**
 * A FAKE: no key manager, but an in-process TLS server that answers what a test tells it to, in the form of KMIP. For
 * answers that the real server of the tests does not give.
 */
export interface FakeKmipServer extends AsyncDisposable {
  readonly port: number;
  /** The messages that came, each with its operations. */
  readonly messages: readonly (readonly Asked[])[];
  /** Answers one operation. */
  answer: (asked: Asked) => Answer;
  /** Answers a whole message: these bytes, a refusal of all of it, no answer; undefined lets `answer` do it. */
  whole: (asked: readonly Asked[]) => Buffer | Refused | "hang up" | undefined;
}

export const VERSION_1_4: Answer = [versionItem("1.4")];

/** @param pair the server's, of the authority with the certificate `caFile` */
export async function startFakeKmipServer(
  { certificateFile, keyFile }: KeyPair,
  caFile: string,
): Promise<FakeKmipServer> {
  const open = new Set<Socket>();
  const messages: Asked[][] = [];
  const server = createServer(
    {
      cert: readFileSync(certificateFile),
      key: readFileSync(keyFile),
      ca: readFileSync(caFile),
      requestCert: true,
    },
    (socket) => {
      open.add(socket);
      socket.on("error", () => undefined);
      let received: Buffer = Buffer.alloc(0);
      socket.on("data", (chunk: Buffer) => {
        received = Buffer.concat([received, chunk]);
        if (received.length < 8 || received.length < 8 + received.readUInt32BE(4)) return;
        const asked = readRequest(received);
        received = Buffer.alloc(0);
        messages.push(asked);
        const whole = fake.whole(asked);
        if (whole === "hang up") socket.destroy();
        else if (Buffer.isBuffer(whole)) socket.write(whole);
        else if (whole !== undefined) socket.write(batch([refusal(whole)]));
        else socket.write(batch(asked.map((one) => itemOf(one, fake.answer(one)))));
      });
    },
  );
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const fake: FakeKmipServer = {
    port: (server.address() as AddressInfo).port,
    messages,
    answer: ({ operation }) => (operation === "Discover Versions" ? VERSION_1_4 : []),
    whole: () => undefined,
    async [Symbol.asyncDispose]() {
      for (const socket of open) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
  return fake;
}

/** A whole answer of these items. */
export function batch(items: readonly Item[], count = items.length): Buffer {
  const header = structure(TAG.ResponseHeader, versionItem("1.4"), integer(TAG.BatchCount, count));
  return encode(structure(TAG.ResponseMessage, header, ...items));
}

function itemOf({ operation, id }: Asked, answer: Answer): Item {
  const about = [enumeration(TAG.Operation, OPERATION[operation]), bytes(TAG.UniqueBatchItemId, id)];
  if ("reason" in answer) return refusal(answer, about);
  return structure(
    TAG.BatchItem,
    ...about,
    enumeration(TAG.ResultStatus, 0),
    structure(TAG.ResponsePayload, ...answer),
  );
}

function refusal({ reason, message = "no" }: Refused, about: readonly Item[] = []): Item {
  return structure(
    TAG.BatchItem,
    ...about,
    enumeration(TAG.ResultStatus, 1),
    enumeration(TAG.ResultReason, reason),
    text(TAG.ResultMessage, message),
  );
}

function readRequest(message: Buffer): Asked[] {
  const root = decode(message);
  if (root.type !== "structure") throw new Error("no request");
  const header = required(root.value, TAG.RequestHeader, "structure");
  const authentication = optional(header, TAG.Authentication, "structure");
  const credential = authentication && required(authentication, TAG.Credential, "structure");
  const value = credential && required(credential, TAG.CredentialValue, "structure");
  return all(root.value, TAG.BatchItem, "structure").map((item) => {
    const code = required(item, TAG.Operation, "enumeration");
    const [name] = Object.entries(OPERATION).find(([, number]) => number === code) ?? [];
    return {
      operation: name as OperationName,
      id: Buffer.from(required(item, TAG.UniqueBatchItemId, "bytes")),
      payload: required(item, TAG.RequestPayload, "structure"),
      version: versionText(required(header, TAG.ProtocolVersion, "structure")),
      user: value && optional(value, TAG.Username, "text"),
      password: value && optional(value, TAG.Password, "text"),
    };
  });
}
