import type { Secret } from "../../secret/secret.js";
import { all, boolean, bytes, enumeration, integer, optional, required, structure, text } from "./fields.js";
import {
  BATCH_ERROR_CONTINUE,
  CREDENTIAL_USERNAME_AND_PASSWORD,
  OPERATION,
  type OperationName,
  RESULT_STATUS_SUCCESS,
  TAG,
} from "./tags.js";
import { decode, encode, type Item, MESSAGE_LIMIT, TtlvError } from "./ttlv.js";
import { type Version, versionItem, versionText } from "./versions.js";

/** Who asks, for servers that want a user besides the certificate. The password stays the caller's. */
export interface Credential {
  readonly user: string;
  readonly password: Secret | undefined;
}

export interface RequestItem {
  readonly operation: OperationName;
  readonly payload: readonly Item[];
}

/** What became of one item of a batch. */
export type ResponseItem =
  | { readonly kind: "done"; readonly payload: readonly Item[] }
  | { readonly kind: "refused"; readonly reason: number; readonly message: string };

/** What the server made of a message: something for each item, or a refusal of the whole. */
export type Response =
  | { readonly kind: "items"; readonly items: readonly ResponseItem[] }
  | Extract<ResponseItem, { kind: "refused" }>;

/** A message with secrets in it, perhaps: the caller wipes it. KMIP 1.4, section 7. */
export function encodeRequest(
  version: Version,
  items: readonly RequestItem[],
  credential: Credential | undefined,
): Buffer {
  const header = structure(
    TAG.RequestHeader,
    versionItem(version),
    integer(TAG.MaximumResponseSize, MESSAGE_LIMIT),
    ...(credential === undefined ? [] : [authentication(credential)]),
    enumeration(TAG.BatchErrorContinuationOption, BATCH_ERROR_CONTINUE),
    boolean(TAG.BatchOrderOption, true),
    integer(TAG.BatchCount, items.length),
  );
  const batch = items.map(({ operation, payload }, index) =>
    structure(
      TAG.BatchItem,
      enumeration(TAG.Operation, OPERATION[operation]),
      bytes(TAG.UniqueBatchItemId, batchId(index)),
      structure(TAG.RequestPayload, ...payload),
    ),
  );
  return encode(structure(TAG.RequestMessage, header, ...batch));
}

/**
 * The answer to a request for `operations`, in their order.
 * @throws TtlvError if it is no answer to that
 */
export function decodeResponse(message: Buffer, operations: readonly OperationName[]): Response {
  const { tag, type, value } = decode(message);
  if (tag !== TAG.ResponseMessage || type !== "structure") throw new TtlvError("it is no response");
  const header = required(value, TAG.ResponseHeader, "structure");
  versionText(required(header, TAG.ProtocolVersion, "structure"));
  const batch = all(value, TAG.BatchItem, "structure");
  if (required(header, TAG.BatchCount, "integer") !== batch.length) throw new TtlvError("items are missing");
  const [only] = batch;
  // a message that the server cannot take at all gets one item that belongs to none of ours
  if (
    batch.length === 1 &&
    only !== undefined &&
    optional(only, TAG.Operation, "enumeration") === undefined
  ) {
    const result = resultOf(only);
    if (result.kind === "refused") return result;
  }
  if (batch.length !== operations.length)
    throw new TtlvError("it has another number of items than were asked");
  const items = operations.map((operation, index) => {
    const item = batch.find((candidate) => belongsTo(candidate, index, batch.length));
    if (item === undefined) throw new TtlvError("an item is answered that was not asked");
    if (optional(item, TAG.Operation, "enumeration") !== OPERATION[operation]) {
      throw new TtlvError("an answer is to another operation");
    }
    return resultOf(item);
  });
  return { kind: "items", items };
}

function resultOf(item: readonly Item[]): ResponseItem {
  if (required(item, TAG.ResultStatus, "enumeration") === RESULT_STATUS_SUCCESS) {
    return { kind: "done", payload: optional(item, TAG.ResponsePayload, "structure") ?? [] };
  }
  return {
    kind: "refused",
    reason: required(item, TAG.ResultReason, "enumeration"),
    message: optional(item, TAG.ResultMessage, "text") ?? "",
  };
}

/** A server may leave the id away where there is only one item. */
function belongsTo(item: readonly Item[], index: number, count: number): boolean {
  const id = optional(item, TAG.UniqueBatchItemId, "bytes");
  return id === undefined ? count === 1 : id.equals(batchId(index));
}

function batchId(index: number): Buffer {
  const id = Buffer.alloc(4);
  id.writeUInt32BE(index + 1);
  return id;
}

/** KMIP 1.4, sections 2.1.2 and 6.6 */
function authentication({ user, password }: Credential): Item {
  return structure(
    TAG.Authentication,
    structure(
      TAG.Credential,
      enumeration(TAG.CredentialType, CREDENTIAL_USERNAME_AND_PASSWORD),
      structure(
        TAG.CredentialValue,
        text(TAG.Username, user),
        // text is a string, which nobody can wipe
        ...(password === undefined ? [] : [text(TAG.Password, password.use(String))]),
      ),
    ),
  );
}
