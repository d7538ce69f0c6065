import { createHash } from "node:crypto";

/** Members of a keystore's settings that say which keys it has: its service, and the part of it that is ours. */
const IDENTITY: ReadonlySet<string> = new Set([
  ...["type", "url", "host", "port", "namespace", "mount", "prefix", "group"],
  ...["projectId", "project", "projectDomain", "region", "interface"],
  // of an address that is shared, this name chooses the server
  "serverName",
]);

/** Members that are looked into for such members. `auth` has none: how we log in is not where the keys are. */
const NESTED: ReadonlySet<string> = new Set(["keystone", "tls"]);

/**
 * Tells keystores apart that have, one after the other, the same name in the settings: what one gave out says nothing
 * about the other's keys. Credentials and time limits are no part of it, since both may change in an outage.
 */
export function originOf(settings: object): string {
  return createHash("sha256")
    .update(JSON.stringify(identityOf(settings)))
    .digest("hex");
}

function identityOf(settings: object): unknown[] {
  return Object.entries(settings)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .flatMap(([name, value]: [string, unknown]) => {
      if (IDENTITY.has(name)) return [[name, value]];
      const isNested = NESTED.has(name) && typeof value === "object" && value !== null;
      return isNested ? [[name, identityOf(value)]] : [];
    });
}
