import { errnoOf, LuksmithError } from "../../error/luksmith-error.js";
import {
  badAnswer,
  connectionFailure,
  forbidden,
  notAuthenticated,
  type Place,
  quoted,
} from "../remote/failures.js";
import type { CertificateFacts } from "./client-certificate.js";
import type { Operation } from "./operations.js";
import { REASON } from "./tags.js";
import { TtlvError } from "./ttlv.js";

const PAGE = "docs/keystores/kmip.md";

/** A server's refusal of one operation; whoever asked knows what it means, `refusedAs` what to tell people. */
export class Refusal extends Error {
  override readonly name = "Refusal";

  constructor(
    readonly operation: Operation<unknown>,
    readonly reason: number,
    readonly serverMessage: string,
  ) {
    super(`${operation.name} was refused with reason ${reason}`);
  }
}

const NOT_THERE = new Set<number>([REASON.ItemNotFound, REASON.ObjectNotFound, REASON.ObjectDestroyed]);
const NOT_PERMITTED = new Set<number>([
  REASON.PermissionDenied,
  REASON.NotAuthorised,
  REASON.Sensitive,
  REASON.NotExtractable,
]);
/** Of what is listed. An object that we registered and nobody has activated may well be gone. */
const ON_LISTED_OBJECTS = new Set<Operation<unknown>["name"]>([
  ...(["Locate", "Get", "Get Attributes", "Modify Attribute", "Revoke", "Destroy"] as const),
]);
/** Of servers that let a name be given only once. */
const NAME_TAKEN = new Set<number>([REASON.ObjectAlreadyExists, REASON.NonUniqueNameAttribute]);
const NOT_KNOWN = new Set<number>([REASON.AuthenticationNotSuccessful, REASON.BadPassword]);

export function isRefusedAsMissing(thrown: unknown): thrown is Refusal {
  return thrown instanceof Refusal && NOT_THERE.has(thrown.reason);
}

export function isRefusedAsUnknown(thrown: unknown): thrown is Refusal {
  return thrown instanceof Refusal && NOT_KNOWN.has(thrown.reason);
}

export function isRefusedAsTaken(thrown: unknown): thrown is Refusal {
  return thrown instanceof Refusal && NAME_TAKEN.has(thrown.reason);
}

/** Who asks, as far as messages can say it. */
export interface Asker {
  readonly certificate?: CertificateFacts | undefined;
  readonly user?: string | undefined;
}

/**
 * The error that people read.
 * @param offered the operations that the server says it has, if it was asked
 */
export function refusedAs(
  place: Place,
  refusal: Refusal,
  asker: Asker,
  offered?: readonly string[],
): LuksmithError {
  const { operation, reason, serverMessage } = refusal;
  const why = `${operation.name} was refused with reason ${reason}: ${quoted(serverMessage)}`;
  if (NOT_KNOWN.has(reason)) return notAuthenticated(place, why, credentialHint(asker));
  if (NOT_PERMITTED.has(reason)) {
    return forbidden(place, why, permissionHint(asker));
  }
  if (NOT_THERE.has(reason) && ON_LISTED_OBJECTS.has(operation.name)) {
    return forbidden(place, `it lists an object and then denies it: ${why}`, permissionHint(asker));
  }
  if (reason === REASON.OperationNotSupported) {
    const offer =
      offered === undefined ? "" : `; it offers ${offered.join(", ") || "none that luksmith uses"}`;
    const hint = `allow ${operation.name} for ${nameOf(asker)}, or use another server; ${PAGE} lists the operations that are needed`;
    return forbidden(place, `${why}${offer}`, hint);
  }
  return new LuksmithError(operation.manner === "read" ? "KEYSTORE_UNAVAILABLE" : "KEYSTORE_WRITE_FAILED", {
    what: `keystore ${place.name} does not do what luksmith asks`,
    why: `${place.address}: ${why}`,
    hint: `the server's log says more; ${PAGE} says what a server must have`,
  });
}

/** A server that gives a name only once has no place for a new passphrase beside the former one. */
export function nameIsUnique(
  { name, address }: Place,
  uuid: string,
  { serverMessage }: Refusal,
): LuksmithError {
  return new LuksmithError("KEYSTORE_WRITE_FAILED", {
    what: `cannot replace the passphrase of key ${uuid} in keystore ${name}`,
    why: `${address} takes no second object of a name, or somebody else has just stored one: ${quoted(serverMessage)}`,
    hint: `nothing was changed; ${PAGE} says what a server must have for rotation`,
  });
}

/** Something on the server that its administrator must look at. */
export function corrupt({ name, address }: Place, why: string): LuksmithError {
  return new LuksmithError("KEY_CORRUPT", {
    what: `keystore ${name} has something that is no key`,
    why: `${address}: ${why}`,
    hint: `mend it on the server: ${PAGE} says what belongs to a key`,
  });
}

/** Alerts (RFC 8446, section 6.2) by which a server says that it will not have our certificate. */
const CERTIFICATE_REFUSED =
  /ALERT_(UNKNOWN_CA|ACCESS_DENIED|BAD_CERTIFICATE|UNSUPPORTED_CERTIFICATE|CERTIFICATE_)/;

/**
 * What became of a connection or of an answer, as a LuksmithError; a bug comes back as it is. With TLS 1.3 a server
 * refuses a client's certificate when the client believes to be connected, so that any exchange may end so.
 */
export function connectionFailedAs(place: Place, thrown: unknown, asker: Asker): unknown {
  if (thrown instanceof LuksmithError) return thrown;
  if (thrown instanceof TtlvError) return badAnswer(place, thrown.message, thrown);
  const code = errnoOf(thrown) ?? "";
  if (CERTIFICATE_REFUSED.test(code)) {
    return notAuthenticated(place, `TLS: it refuses the client certificate (${code})`, credentialHint(asker));
  }
  if (code.endsWith("ALERT_HANDSHAKE_FAILURE") && asker.certificate === undefined) {
    return notAuthenticated(place, `TLS: the handshake failed (${code})`, credentialHint(asker));
  }
  return connectionFailure(place, thrown);
}

function credentialHint({ certificate, user }: Asker): string {
  if (certificate === undefined) return "set tls.certificateFile and tls.keyFile in the settings";
  const { commonName, problem } = certificate;
  if (problem !== undefined) return `renew the client certificate of ${commonName}: ${problem}`;
  const password = user === undefined ? "" : `, and the password of ${quoted(user)} must be right`;
  return `the client certificate of ${commonName} must come from an authority that the server trusts, and be registered there where it wants that${password}`;
}

function permissionHint(asker: Asker): string {
  return `let ${nameOf(asker)} do it: the owner of the objects is whoever stored them, and a policy or role of the server may give others more; ${PAGE} lists the operations that are needed`;
}

function nameOf({ certificate, user }: Asker): string {
  return user === undefined ? (certificate?.commonName ?? "this client") : quoted(user);
}
