import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type KeptClaim, MappingClaims } from "../../../src/encryption/dm-crypt/mapping-claims.js";
import { newKeyUuid } from "../../../src/keystore/key-uuid.js";

let parent: string;
let directory: string;
let claims: MappingClaims;
beforeEach(() => {
  parent = mkdtempSync(join(tmpdir(), "luksmith-claims-"));
  directory = join(parent, "mappings");
  claims = new MappingClaims(directory);
});
afterEach(() => rmSync(parent, { recursive: true }));

function claimOf(name: string, changes: Partial<KeptClaim> = {}) {
  const guest = { id: "4f1c", name: "web\n1" };
  const volume = { volume: "/dev/vg/vm1", device: "253:1", format: "luks" } as const;
  return { name, guest, disk: "vda", uuid: newKeyUuid(), ...volume, ...changes };
}

it("are none before the first, and nothing is made for a look", () => {
  expect(claims.all()).toEqual([]);
  claims.remove("luksmith-a");
  expect(existsSync(directory)).toBe(false);
});

it("come back as they were written, until they are removed", () => {
  const first = claims.write(claimOf("luksmith-a", { device: null }));
  const second = claims.write(claimOf("vm1-dmcrypt", { format: "plain" }));
  expect(claims.all()).toEqual([first, second]);
  claims.remove(first.name);
  claims.remove(first.name);
  expect(claims.all()).toEqual([second]);
});

it("replace the one of the same name, and leave no temporary file", () => {
  const other = claimOf("luksmith-a", { disk: "vdb" });
  claims.write(claimOf("luksmith-a"));
  writeFileSync(join(directory, ".luksmith-a.999999999.0123456789abcdef.tmp"), "half of a claim");
  claims.write(other);
  expect(readdirSync(directory)).toEqual(["luksmith-a"]);
  expect(claims.read("luksmith-a")).toMatchObject(other);
});

it("can be read by root alone", () => {
  claims.write(claimOf("luksmith-a"));
  const modes = [directory, join(directory, "luksmith-a")].map((path) => statSync(path).mode & 0o777);
  expect(modes).toEqual([0o700, 0o600]);
});

it("hold nothing but what they say", () => {
  const secretive = { ...claimOf("luksmith-a"), passphrase: "secret" };
  claims.write(secretive);
  expect(Object.keys(claims.read("luksmith-a") ?? {})).toEqual([
    ...["name", "guest", "disk", "uuid", "volume", "format", "device", "nonce"],
  ]);
});

it("are told from those of the same words that were written before", () => {
  const claim = claimOf("luksmith-a");
  const [first, second] = [claims.write(claim), claims.write(claim)];
  expect(second).not.toEqual(first);
  expect(claims.read("luksmith-a")).toEqual(second);
});

describe("what is no claim of ours", () => {
  const good = { ...claimOf("luksmith-a"), nonce: "1" };
  it.each([
    ["nothing", ""],
    ["half of one", JSON.stringify(good).slice(0, 40)],
    ["no object", "[]"],
    ["null", "null"],
    ["one of another name", JSON.stringify({ ...good, name: "luksmith-b" })],
    ["one without a guest", JSON.stringify({ ...good, guest: undefined })],
    ["one with a guest of no id", JSON.stringify({ ...good, guest: { name: "web1" } })],
    ["one with a number for a disk", JSON.stringify({ ...good, disk: 1 })],
    ["one with a wrong UUID", JSON.stringify({ ...good, uuid: "../../etc" })],
    ["one without a volume", JSON.stringify({ ...good, volume: undefined })],
    ["one of an unknown format", JSON.stringify({ ...good, format: "luks1" })],
    ["one that says nothing of a device", JSON.stringify({ ...good, device: undefined })],
    ["one that cannot be told from others", JSON.stringify({ ...good, nonce: undefined })],
    ["one that is too long", JSON.stringify({ ...good, volume: "v".repeat(70_000) })],
  ])("is passed over: %s", (_, text) => {
    claims.write(claimOf("luksmith-b"));
    writeFileSync(join(directory, good.name), text, { mode: 0o600 });
    expect(claims.all().map(({ name }) => name)).toEqual(["luksmith-b"]);
  });

  it("is passed over: a directory, a link, a file that others can write, a foreign name", () => {
    const written = claims.write(good);
    mkdirSync(join(directory, "luksmith-directory"));
    symlinkSync("luksmith-a", join(directory, "luksmith-link"));
    writeFileSync(join(directory, "luksmith-open"), JSON.stringify({ ...good, name: "luksmith-open" }));
    chmodSync(join(directory, "luksmith-open"), 0o666);
    writeFileSync(join(directory, "foreign"), JSON.stringify({ ...good, name: "foreign" }), { mode: 0o600 });
    expect(claims.all()).toEqual([written]);
  });

  it("is not looked for under a name that is a path", () => {
    writeFileSync(join(parent, "luksmith-a"), JSON.stringify({ ...good, name: "../luksmith-a" }), {
      mode: 0o600,
    });
    mkdirSync(directory);
    expect(claims.read("../luksmith-a")).toBeUndefined();
  });
});

it("say that their directory cannot be made", () => {
  writeFileSync(directory, "");
  expect(() => claims.write(claimOf("luksmith-a"))).toThrow(
    expect.objectContaining({ code: "NOT_PERMITTED" }) as Error,
  );
  expect(claims.all()).toEqual([]);
});
