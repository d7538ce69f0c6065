import { describe, expect, it } from "vitest";
import { findKeyManager, withoutVersion } from "../../../src/keystore/barbican/keystone-catalog.js";

const PLACE = { name: "cloud", address: "Keystone at https://cloud.example:5000" };

/** `public north https://…` and so on. */
function catalogOf(...endpoints: string[]): unknown {
  const identity = { interface: "public", region_id: "north", region: "north", url: "https://id.example/v3" };
  return [
    { type: "identity", endpoints: [identity] },
    {
      type: "key-manager",
      endpoints: endpoints.map((text) => {
        const [face, region, url] = text.split(" ");
        return { id: "1", interface: face, region, region_id: region === "-" ? null : region, url };
      }),
    },
  ];
}

const TWO_REGIONS = [
  "public north https://north.example:9311",
  "internal north https://north.internal:9311",
  "public south https://south.example:9311",
];

describe("the key manager in Keystone's catalog", () => {
  it.each([
    [
      "the only one",
      ["public north https://a.example:9311"],
      { interface: "public" },
      "https://a.example:9311",
    ],
    [
      "the one of the region",
      TWO_REGIONS,
      { interface: "public", region: "south" },
      "https://south.example:9311",
    ],
    ["the one of the interface", TWO_REGIONS, { interface: "internal" }, "https://north.internal:9311"],
    [
      "an address that several regions share",
      ["public north https://a.example/v1", "public south https://a.example/"],
      { interface: "public" },
      "https://a.example",
    ],
    ["one without a region", ["public - https://a.example"], { interface: "public" }, "https://a.example"],
    [
      "one with a path and a version",
      ["public north https://cloud.example/key-manager/v1/"],
      { interface: "public" },
      "https://cloud.example/key-manager",
    ],
  ])("is %s", (_, endpoints, wanted, url) => {
    expect(findKeyManager(catalogOf(...endpoints), wanted, PLACE)).toBe(url);
  });

  it.each([
    [
      "several regions",
      TWO_REGIONS,
      { interface: "public" },
      "keystone.region in the settings to one of: north, south",
    ],
    ["a region without one", TWO_REGIONS, { interface: "public", region: "west" }, "one of: north, south;"],
    [
      "a region that has none of the interface",
      TWO_REGIONS,
      { interface: "internal", region: "south" },
      ": north;",
    ],
    [
      "an interface that nobody has",
      TWO_REGIONS,
      { interface: "admin" },
      "keystone.interface in the settings to one of: internal, public",
    ],
    ["none at all", [], { interface: "public" }, "set url"],
    ["one without TLS", ["public north http://127.0.0.1:9311"], { interface: "public" }, "https endpoint"],
    [
      "two in one region",
      ["public north https://a.example", "public north https://b.example"],
      { interface: "public", region: "north" },
      "set url",
    ],
  ])("is not guessed with %s: the error names what there is", (_, endpoints, wanted, hint) => {
    expect(() => findKeyManager(catalogOf(...endpoints), wanted, PLACE)).toThrow(
      expect.objectContaining({ code: "SETTINGS_INVALID", hint: expect.stringContaining(hint) as string }),
    );
  });

  it.each<[string, unknown]>([
    ["no catalog", undefined],
    ["something else", { a: 1 }],
    ["endpoints that are no list", [{ type: "key-manager", endpoints: 7 }]],
    [
      "an endpoint without URL",
      [{ type: "key-manager", endpoints: [{ interface: "public", region_id: "x" }] }],
    ],
    ["null", [{ type: "key-manager", endpoints: [null] }]],
    ...[
      "ftp://a.example",
      "https://user:pw@a.example",
      "https://a.example/?x=1",
      "https://",
      "/v1",
      "https://[x",
    ].map((url): [string, unknown] => [`the address ${url}`, catalogOf(`public north ${url}`)]),
  ])("is not taken from %s", (_, catalog) => {
    expect(() => findKeyManager(catalog, { interface: "public" }, PLACE)).toThrow(
      expect.objectContaining({ code: "KEYSTORE_ANSWER_INVALID" }),
    );
  });

  it.each([
    ["https://a.example:9311", "https://a.example:9311"],
    ["https://a.example:9311/", "https://a.example:9311"],
    ["https://a.example:9311/v1", "https://a.example:9311"],
    ["https://a.example/key-manager/v1/", "https://a.example/key-manager"],
    ["https://v1", "https://v1"],
  ])("%s has the address %s", (url, address) => {
    expect(withoutVersion(url)).toBe(address);
  });
});
