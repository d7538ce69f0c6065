import { readdirSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { originOf } from "../../../src/keystore/cache/origin.js";
import { readJson } from "../../tooling/project-files.js";

/** What may change while a keystore stays the same: what it is called, how we log in, and how long we wait. */
const NO_ORIGIN = [
  ...["$ref", "name", "auth", "timeout", "method", "directory", "protector", "version", "object"],
  ...["user", "userDomain", "password", "passwordFile", "id", "secret", "secretFile", "token", "tokenFile"],
  ...["caFile", "certificateFile", "keyFile", "minVersion"],
];

const vault = { name: "v", type: "vault", url: "https://a.example", mount: "secret", tls: {}, timeout: 8 };
const barbican = { type: "barbican", keystone: { url: "https://id.example", project: "a", user: "u" } };

describe("where a keystore is", () => {
  it.each([
    ["address", vault, { ...vault, url: "https://b.example" }],
    ["mount", vault, { ...vault, mount: "kv" }],
    ["namespace", vault, { ...vault, namespace: "team" }],
    ["server's name", vault, { ...vault, tls: { serverName: "b.example" } }],
    ["project", barbican, { ...barbican, keystone: { ...barbican.keystone, project: "b" } }],
    ["Keystone", barbican, { ...barbican, keystone: { ...barbican.keystone, url: "https://other.example" } }],
    ["type", { type: "kmip", host: "a" }, { type: "vault", host: "a" }],
    ["port", { type: "kmip", host: "a", port: 5696 }, { type: "kmip", host: "a", port: 5697 }],
  ])("is another place with another %s", (_, one, other) => {
    expect(originOf(one)).not.toBe(originOf(other));
  });

  it.each([
    ["name", vault, { ...vault, name: "w" }],
    ["time limit", vault, { ...vault, timeout: 60 }],
    ["order", vault, Object.fromEntries(Object.entries(vault).reverse())],
    ["credential", vault, { ...vault, auth: { method: "token", tokenFile: "/a", mount: "b" } }],
    ["authority", vault, { ...vault, tls: { caFile: "/a" } }],
    ["user", barbican, { ...barbican, keystone: { ...barbican.keystone, user: "v" } }],
  ])("is the same place with another %s", (_, one, other) => {
    expect(originOf(one)).toBe(originOf(other));
  });

  it("has a word on every setting of every keystore and login", () => {
    const schemas = readdirSync("schemas/keystore").filter((name) =>
      /^(keystore|keystone)-.*\.schema\.json$/.test(name),
    );
    expect(schemas.length).toBeGreaterThan(6);
    for (const name of schemas) {
      const { properties } = readJson(`schemas/keystore/${name}`) as { properties: object };
      const silent = Object.keys(properties).filter(
        (member) =>
          originOf({ [member]: "a" }) === originOf({}) && !["keystone", "tls", ...NO_ORIGIN].includes(member),
      );
      expect(silent, name).toEqual([]);
    }
  });
});
