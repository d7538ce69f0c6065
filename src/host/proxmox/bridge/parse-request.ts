import { LuksmithError } from "../../../error/luksmith-error.js";
import type { BridgeRequest } from "../../../generated/bridge-request.js";
import validate from "../../../generated/validate-bridge-request.cjs";

/** @throws EVENT_INVALID, saying what is wrong with it */
export function parseRequest(text: string): BridgeRequest {
  const value = parseJson(text);
  if (validate(value)) return value as BridgeRequest;
  const problems = (validate.errors ?? []).map(({ instancePath, message = "is wrong" }) =>
    `${instancePath.slice(1).replaceAll("/", ".")} ${message}`.trim(),
  );
  throw malformed([...new Set(problems)].join("; "));
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw malformed("it is not JSON");
  }
}

function malformed(why: string): LuksmithError {
  return new LuksmithError("EVENT_INVALID", {
    what: "cannot understand what the storage plugin asks",
    why,
    hint: "the plugin and the engine must be of one version: install the package anew on this node",
  });
}
