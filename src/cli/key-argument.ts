import { InvalidArgumentError } from "commander";
import { type KeyUuid, parseKeyUuid } from "../keystore/key-uuid.js";

/** The UUID of a key on the command line. */
export function parseKeyArgument(text: string): KeyUuid {
  const uuid = parseKeyUuid(text);
  if (uuid !== undefined) return uuid;
  throw new InvalidArgumentError("It must be a UUID as luksmith keys list prints it.");
}

/** For an argument or an option that may be repeated. */
export function collect(text: string, earlier: readonly string[] = []): string[] {
  return [...earlier, text];
}

/** The same for UUIDs. */
export function collectKeyArguments(text: string, earlier: readonly KeyUuid[] = []): KeyUuid[] {
  return [...earlier, parseKeyArgument(text)];
}
