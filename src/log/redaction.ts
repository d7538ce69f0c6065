import { redact, Secret } from "../secret/secret.js";

/** A copy of `value` in which no secret is left, whatever its depth: what every log record passes through. */
export function redactDeep(value: unknown): unknown {
  if (typeof value === "string") return redact(value);
  if (typeof value !== "object" || value === null) return value;
  if (value instanceof Secret || value instanceof Uint8Array) return "[redacted]";
  if (Array.isArray(value)) return value.map(redactDeep);
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, redactDeep(item)]));
}
