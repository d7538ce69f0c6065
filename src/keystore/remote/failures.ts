import { errnoOf, LuksmithError } from "../../error/luksmith-error.js";
import { printable } from "../../error/printable.js";
import { redact } from "../../secret/secret.js";
import { NoAnswer } from "./no-answer.js";

/** The keystore as messages name it: `keystore vault1`, and where it is. */
export interface Place {
  /** The instance's name in the settings. */
  readonly name: string;
  /** Without credentials: `https://vault.example:8200`. */
  readonly address: string;
}

/** It answers that it cannot: KEYSTORE_UNAVAILABLE. `why` is a clause: `it has too much to do`. */
export function unavailable(place: Place, why: string, cause?: unknown): LuksmithError {
  return new LuksmithError("KEYSTORE_UNAVAILABLE", unavailability(place, why, cause));
}

/** No answer, or none in time: KEYSTORE_UNAVAILABLE. `why` is a clause: `it closed the connection`. */
export function noAnswer(place: Place, why: string, cause?: unknown): NoAnswer {
  return new NoAnswer(unavailability(place, why, cause));
}

function unavailability(place: Place, why: string, cause: unknown) {
  return {
    what: `keystore ${place.name} does not answer`,
    why: `${place.address}: ${why}`,
    hint: `is the server up, and can this host reach it? luksmith settings test tells when it is back`,
    cause,
  };
}

/** The server does not know us: KEYSTORE_AUTH_FAILED. The hint says which credential is meant. */
export function notAuthenticated(place: Place, why: string, hint: string): LuksmithError {
  return new LuksmithError("KEYSTORE_AUTH_FAILED", {
    what: `keystore ${place.name} does not accept luksmith's credentials`,
    why: `${place.address}: ${why}`,
    hint,
  });
}

/** The server knows us and refuses: KEYSTORE_FORBIDDEN. The hint says which role, policy or permission is missing. */
export function forbidden(place: Place, why: string, hint: string): LuksmithError {
  return new LuksmithError("KEYSTORE_FORBIDDEN", {
    what: `keystore ${place.name} does not permit this`,
    why: `${place.address}: ${why}`,
    hint,
  });
}

/** An answer that makes no sense: KEYSTORE_ANSWER_INVALID. `why` quotes no payload. */
export function badAnswer(place: Place, why: string, cause?: unknown): LuksmithError {
  return new LuksmithError("KEYSTORE_ANSWER_INVALID", {
    what: `keystore ${place.name} gives an answer that cannot be understood`,
    why: `${place.address}: ${why}`,
    hint: "is this the address of the keystore, and of nothing else (a proxy, a portal)?",
    cause,
  });
}

/** Text of the server for a message: printable, short, and without any secret that is alive here. */
export function quoted(text: string): string {
  return printable(redact(text).trim());
}

/**
 * What Node says of a connection that failed, as KEYSTORE_TLS_FAILED, KEYSTORE_ANSWER_INVALID (what came is not HTTP) or
 * KEYSTORE_UNAVAILABLE; anything else comes back as it is.
 */
export function connectionFailure(place: Place, thrown: unknown): unknown {
  if (thrown instanceof LuksmithError) return thrown;
  if (thrown instanceof Error && (thrown.name === "AbortError" || thrown.name === "TimeoutError")) {
    return noAnswer(place, "it did not answer in time", thrown);
  }
  const code = errnoOf(thrown);
  if (code === undefined || !(thrown instanceof Error)) return thrown;
  if (code.startsWith("HPE_")) return badAnswer(place, `it is not HTTP (${code})`, thrown);
  if (NETWORK_CODE.test(code)) return noAnswer(place, plainWords(code, thrown), thrown);
  if (!TLS_CODE.test(code)) return thrown;
  return new LuksmithError("KEYSTORE_TLS_FAILED", {
    what: `keystore ${place.name} cannot be trusted`,
    why: `${place.address}: TLS: ${quoted(thrown.message)} (${code})`,
    hint:
      TLS_HINTS.find(([pattern]) => pattern.test(code))?.[1] ??
      "compare tls in the settings with the server's",
    cause: thrown,
  });
}

/** Whether another attempt may succeed: the connection failed, not the conversation. */
export function isConnectionFailure(thrown: unknown): boolean {
  return thrown instanceof LuksmithError && thrown.code === "KEYSTORE_UNAVAILABLE";
}

/** Errors of the system and of DNS; EPROTO is OpenSSL's. */
const NETWORK_CODE = /^(?!EPROTO$)(E[A-Z0-9]+|EAI_[A-Z]+|ERR_STREAM_PREMATURE_CLOSE)$/;

/** OpenSSL's and Node's; UNSPECIFIED is a certificate that is wrong in a way that Node has no name for. */
const TLS_CODE =
  /^(CERT_|CRL_|UNABLE_TO_|ERROR_IN_|DEPTH_ZERO_|SELF_SIGNED_|ERR_TLS_|ERR_SSL_|ERR_OSSL_|EPROTO|HOSTNAME_|INVALID_|PATH_|UNSPECIFIED)/;

const TLS_HINTS: readonly (readonly [RegExp, string])[] = [
  [
    /^(UNABLE_TO_|DEPTH_ZERO_|SELF_SIGNED_)/,
    "tls.caFile in the settings must have the certificate of the authority that signed the server's",
  ],
  [/^CERT_HAS_EXPIRED$/, "renew the server's certificate, or correct the clock of this host"],
  [/^ERR_TLS_CERT_ALTNAME_INVALID$/, "use the name that the certificate has, or set tls.serverName"],
  [
    /^(ERR_SSL_|EPROTO)/,
    "compare tls.minVersion and the client certificate in the settings with the server's",
  ],
];

function plainWords(code: string, thrown: Error): string {
  return WORDS[code] ?? `${quoted(thrown.message)} (${code})`;
}

const WORDS: Readonly<Record<string, string>> = {
  ECONNREFUSED: "nothing listens there (ECONNREFUSED)",
  ECONNRESET: "it closed the connection (ECONNRESET)",
  EPIPE: "it closed the connection (EPIPE)",
  ENOTFOUND: "the name is unknown to DNS (ENOTFOUND)",
  EAI_AGAIN: "DNS does not answer (EAI_AGAIN)",
  EHOSTUNREACH: "the network knows no way there (EHOSTUNREACH)",
  ENETUNREACH: "the network knows no way there (ENETUNREACH)",
  ETIMEDOUT: "it did not answer in time (ETIMEDOUT)",
};
