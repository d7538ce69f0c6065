import { LuksmithError } from "../../error/luksmith-error.js";
import { badAnswer, type Place, quoted } from "../remote/failures.js";

/** Which of the key manager's addresses is wanted. */
export interface Wanted {
  readonly interface: string;
  /** Any, if there is one only. */
  readonly region?: string;
}

/** Its type in the list of OpenStack's service types. */
const SERVICE = "key-manager";

interface Endpoint {
  readonly interface: string;
  readonly region: string;
  readonly url: string;
}

/**
 * Barbican's address, without `/v1`.
 * @param catalog `token.catalog` of Keystone's answer
 * @param place Keystone
 * @throws SETTINGS_INVALID with what there is, if the settings do not lead to one address; KEYSTORE_ANSWER_INVALID
 */
export function findKeyManager(catalog: unknown, wanted: Wanted, place: Place): string {
  const endpoints = endpointsOf(catalog, place);
  if (endpoints.length === 0) throw noKeyManager(place);
  const fitting = endpoints.filter((endpoint) => endpoint.interface === wanted.interface);
  if (fitting.length === 0) {
    throw undecided(
      place,
      "interface",
      `has no ${wanted.interface} address of it`,
      namesOf(endpoints, "interface"),
    );
  }
  const { region } = wanted;
  const near = region === undefined ? fitting : fitting.filter((endpoint) => endpoint.region === region);
  const [only] = near;
  if (only === undefined) {
    throw undecided(
      place,
      "region",
      `has none in region ${quoted(region ?? "")}`,
      namesOf(fitting, "region"),
    );
  }
  const urls = new Set(near.map(({ url }) => withoutVersion(url)));
  if (urls.size === 1) return checked(withoutVersion(only.url), place);
  if (region === undefined) throw undecided(place, "region", "has several", namesOf(fitting, "region"));
  throw new LuksmithError("SETTINGS_INVALID", {
    what: `keystore ${place.name} has several addresses`,
    why: `${place.address}: region ${quoted(region)} has ${[...urls].map(quoted).join(", ")}`,
    hint: "set url in the settings to one of them",
  });
}

/** `https://cloud.example/key-manager/v1/` as `https://cloud.example/key-manager`. */
export function withoutVersion(url: string): string {
  return url
    .replace(/\/+$/, "")
    .replace(/(?<=[^/])\/v1$/, "")
    .replace(/\/+$/, "");
}

function endpointsOf(catalog: unknown, place: Place): Endpoint[] {
  if (!Array.isArray(catalog)) throw badAnswer(place, "it has no service catalog");
  const services = catalog.filter((service: unknown) => isObject(service) && service["type"] === SERVICE);
  return services.flatMap((service: { readonly endpoints?: unknown }) => {
    if (!Array.isArray(service.endpoints))
      throw badAnswer(place, "a service of the catalog has no endpoints");
    return service.endpoints.map((endpoint: unknown) => endpointOf(endpoint, place));
  });
}

function endpointOf(endpoint: unknown, place: Place): Endpoint {
  const { interface: name, region_id: region, url } = isObject(endpoint) ? endpoint : {};
  if (typeof name !== "string" || typeof url !== "string") {
    throw badAnswer(place, "an endpoint of the catalog has no interface or URL");
  }
  // an endpoint may be in no region
  return { interface: name, region: typeof region === "string" ? region : "", url };
}

/**
 * Nothing with credentials in it, and no other protocol. A Keystone that is reached by TLS does not send us to a port
 * of this machine, where anybody may listen.
 */
function checked(url: string, place: Place): string {
  const isWeaker = url.startsWith("http:") && place.address.includes("https:");
  if (!isWeaker && /^https?:\/\/[^\s?#@]+$/.test(url) && URL.canParse(url)) return url;
  if (isWeaker) {
    throw new LuksmithError("SETTINGS_INVALID", {
      what: `keystore ${place.name} cannot be used without TLS`,
      why: `${place.address}: the catalog names the key manager's address ${quoted(url)}`,
      hint: "have the cloud's administrator make an https endpoint, or set url in the settings",
    });
  }
  throw badAnswer(place, `the key manager's address in the catalog is none: ${quoted(url)}`);
}

function namesOf(endpoints: readonly Endpoint[], member: "interface" | "region"): string {
  return [...new Set(endpoints.map((endpoint) => quoted(endpoint[member])))].sort().join(", ");
}

function undecided(place: Place, setting: string, why: string, names: string): LuksmithError {
  return new LuksmithError("SETTINGS_INVALID", {
    what: `keystore ${place.name} cannot be found in Keystone's service catalog`,
    why: `${place.address}: the key manager is there, but the catalog ${why}`,
    hint: `set keystone.${setting} in the settings to one of: ${names}; or url to Barbican's address`,
  });
}

function noKeyManager(place: Place): LuksmithError {
  return new LuksmithError("SETTINGS_INVALID", {
    what: `keystore ${place.name} cannot be found in Keystone's service catalog`,
    why: `${place.address}: the catalog has no service of the type ${SERVICE}`,
    hint: "set url in the settings to Barbican's address, or have the cloud's administrator make the endpoint",
  });
}

export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
