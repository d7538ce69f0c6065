import type { Container } from "../di.js";
import {
  ARRIVALS,
  AUDIT,
  HEADER_VAULT,
  HOST,
  KEYRING,
  LOGGER,
  MAPPINGS,
  PROVIDERS,
  STORAGE,
} from "../tokens.js";
import type { Resources } from "./perform.js";

/** What a plan is made and done with. */
export function resourcesOf(container: Container): Resources {
  return {
    host: container.resolve(HOST),
    keyring: container.resolve(KEYRING),
    storage: container.resolve(STORAGE),
    providers: container.resolve(PROVIDERS),
    mappings: container.resolve(MAPPINGS),
    arrivals: container.resolve(ARRIVALS),
    audit: container.resolve(AUDIT),
    headers: container.resolve(HEADER_VAULT),
    logger: container.resolve(LOGGER),
  };
}
