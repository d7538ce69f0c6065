import type { UiRequest } from "../../generated/ui-request.js";
import validate from "../../generated/validate-ui-request.cjs";
import type { SessionRequest } from "./protocol.js";
import { Refused } from "./refused.js";

/** @throws Refused */
export function requireSessionRequest(value: unknown): SessionRequest {
  if (typeof value === "object" && value !== null && "token" in value && typeof value.token === "string")
    return { token: value.token };
  throw new Refused(400, "request", "The request has no token.");
}

/** @throws Refused where it is none of schemas/ui/ui-request.schema.json, by whose patterns no word becomes an option */
export function requireUiRequest(value: unknown): UiRequest {
  if (isUiRequest(value)) return value;
  // which place of it is wrong, and never what stands there
  const places = (validate.errors ?? []).map(
    ({ instancePath, keyword }) => `${instancePath || "/"} (${keyword})`,
  );
  throw new Refused(400, "request", `The request is none that this page makes: ${places.join(", ")}.`);
}

function isUiRequest(value: unknown): value is UiRequest {
  return validate(value);
}
