import { LuksmithError } from "../../error/luksmith-error.js";
import {
  badAnswer,
  forbidden,
  notAuthenticated,
  type Place,
  quoted,
  unavailable,
} from "../remote/failures.js";
import type { HttpAnswer } from "../remote/http-client.js";
import type { Identity } from "./barbican-access.js";

/** What a request is for: what may be missing depends on it. */
export type Purpose = "list" | "read" | "create" | "change" | "delete";

/** Answers that mean something to whoever asked: done, not there, done already. */
const ANSWERS = [200, 201, 202, 204, 404, 409];

/** An answer that the server could not give, as KEYSTORE_UNAVAILABLE; `passing` if asking again may help. */
export function serverFailureOf(
  place: Place,
  answer: HttpAnswer,
): { readonly error: LuksmithError; readonly passing: boolean } | undefined {
  const { status } = answer;
  if (status < 500 && status !== 429) return undefined;
  const text = textOf(answer);
  // written by Barbican's Keystone middleware, which has waited for seconds
  if (status === 503 && /keystone|identity/i.test(text)) {
    const why = `it cannot reach Keystone, so that it knows nobody (503: ${quoted(text)})`;
    return { error: unavailable(place, why), passing: false };
  }
  return { error: unavailable(place, `it answers with ${status}: ${quoted(text)}`), passing: status !== 429 };
}

/** What a status says that is neither success nor a failure of the server; undefined for those that are answers. */
export function refusalOf(
  place: Place,
  purpose: Purpose,
  answer: HttpAnswer,
  identity: Identity | undefined,
): LuksmithError | undefined {
  const { status } = answer;
  if (ANSWERS.includes(status)) return undefined;
  const text = textOf(answer);
  switch (status) {
    case 400:
      return /X-Project-Id/i.test(text) ? noProject(place) : notTaken(place, purpose, status, text);
    case 403:
      return /quota/i.test(text) ? quotaReached(place, text) : notPermitted(place, purpose, text, identity);
    case 413:
      return notWritten(place, `it takes no secret as long as this one (413: ${quoted(text)})`);
    default:
      return notTaken(place, purpose, status, text);
  }
}

function noProject(place: Place): LuksmithError {
  return notAuthenticated(
    place,
    "it has no Keystone, and wants to know the project",
    "set projectId and url in the settings, and no keystone",
  );
}

function notPermitted(
  place: Place,
  purpose: Purpose,
  text: string,
  identity: Identity | undefined,
): LuksmithError {
  if (identity === undefined) return forbidden(place, quoted(text), MISSING[purpose]);
  const { user, project, roles } = identity;
  const why = `${quoted(text)} (user ${user} has these roles in project ${project}: ${roles.join(", ")})`;
  return forbidden(place, why, missingRole(purpose, roles) ?? MISSING[purpose]);
}

/** Which of Barbican's two policies is in force can be told from a role that is there and does not help. */
function missingRole(purpose: Purpose, roles: readonly string[]): string | undefined {
  const has = (...names: string[]) => names.some((name) => roles.includes(name));
  switch (purpose) {
    case "list":
      if (has("creator", "observer") === has("member")) return undefined;
      return has("member") ? ROLE_OF_OLDER_POLICY : ROLE_OF_NEWER_POLICY;
    // one who may list has the role for everything, but for an observer; unless the secret has an access list
    case "create":
    case "change":
    case "delete":
      return has("observer") && !has("creator") ? ROLE_OF_WRITER : undefined;
    case "read":
      return undefined;
  }
}

const ROLE_OF_NEWER_POLICY =
  "give the user the role member besides: this Barbican has enforce_new_defaults = true, where creator and observer " +
  "have no access";
const ROLE_OF_OLDER_POLICY =
  "give the user the role creator besides: this Barbican does not have enforce_new_defaults = true, without which member " +
  "has no access";
const ROLE_OF_WRITER = "give the user the role creator besides: an observer may only read";

/**
 * Barbican's policy has two sets of defaults: the older one with the roles creator and observer of its own, and that of
 * `enforce_new_defaults` with Keystone's member. Who may list may read what he sees, unless an access list forbids it.
 */
const MISSING: Readonly<Record<Purpose, string>> = {
  list:
    "give luksmith's user the role creator in the project, or member where Barbican has enforce_new_defaults = true; " +
    "observer is enough for reading, and a plain member has no access without that option",
  read:
    "the secret has an access list (ACL) that shuts the project out: openstack acl get REFERENCE shows it; its owner " +
    "adds luksmith's user: openstack acl user add --user ID --operation-type read REFERENCE",
  create:
    "give luksmith's user the role creator in the project, or member where Barbican has enforce_new_defaults = true; " +
    "neither does where the other one is meant",
  change:
    "luksmith's user needs the role creator in the project, or member where Barbican has enforce_new_defaults = true; " +
    "a secret with an access list (ACL) that shuts the project out is changed by its owner only",
  delete:
    "luksmith's user needs the role creator in the project, or member where Barbican has enforce_new_defaults = true; " +
    "a secret with an access list (ACL) that shuts the project out is deleted by its owner or an admin only",
};

function quotaReached(place: Place, text: string): LuksmithError {
  const what = /consumer/i.test(text) ? "consumers" : "secrets";
  return new LuksmithError("KEYSTORE_WRITE_FAILED", {
    what: `keystore ${place.name} has no room for another key`,
    why: `${place.address}: the project's quota of ${what} is reached (403: ${quoted(text)})`,
    hint: `ask Barbican's operator to raise it (PUT /v1/project-quotas/PROJECT), or delete ${what} that nobody needs`,
  });
}

/** A request that Barbican does not take as it is: nothing was changed. */
function notTaken(place: Place, purpose: Purpose, status: number, text: string): LuksmithError {
  const why = `it answers with ${status}: ${quoted(text)}`;
  return purpose === "list" || purpose === "read" || status < 400
    ? badAnswer(place, why)
    : notWritten(place, why);
}

function notWritten(place: Place, why: string): LuksmithError {
  return new LuksmithError("KEYSTORE_WRITE_FAILED", {
    what: `keystore ${place.name} does not take this`,
    why: `${place.address}: ${why}`,
  });
}

/** Barbican's own words: the description of a JSON error, or a page's text without its tags. */
function textOf({ body }: HttpAnswer): string {
  const text = body.toString("utf8", 0, 4096);
  const description = /"(?:description|detail)": *"([^"]*)"/.exec(text)?.[1];
  return description ?? text.replace(/<title>.*?<\/title>|<[^>]*>/gs, " ").replace(/\s+/g, " ");
}
