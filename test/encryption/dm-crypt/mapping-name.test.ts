import { describe, expect, it } from "vitest";
import {
  isMappingName,
  keyOfMapping,
  legacyMappingName,
  mappingName,
} from "../../../src/encryption/dm-crypt/mapping-name.js";
import { newKeyUuid } from "../../../src/keystore/key-uuid.js";

const uuid = newKeyUuid();
const at = (path: string) => ({ kind: "block", path, format: "raw" }) as const;

describe("a mapping's name", () => {
  it.each([
    "/dev/vg/vm1",
    "/images/a b.img",
    `/images/${"n".repeat(255)}`,
    "/images/ключ",
    "/images/-rf",
    "/images/..",
  ])("of %s is one of Luksmith's, of at most 127 characters, and tells the key", (path) => {
    const name = mappingName(at(path), uuid);
    expect(isMappingName(name)).toBe(true);
    expect(name.length).toBeLessThanOrEqual(127);
    expect(keyOfMapping(name)).toBe(uuid);
  });

  it.each(["/dev/vg/vm1", "/dev/vg/_vm+1.x-y", `/dev/vg/${"n".repeat(119)}`])(
    "of Nova's %s is one too",
    (path) => {
      const name = legacyMappingName(at(path));
      expect(isMappingName(name)).toBe(true);
      expect(keyOfMapping(name)).toBeUndefined();
    },
  );

  it.each([
    "",
    "control",
    "vg-root",
    "luksmith-",
    "luksmith-a/b",
    "luksmith-../x",
    "../luksmith-a",
    "luksmith-a b",
    "luksmith-a\n",
    "luksmith-a\\x2f",
    "luksmith-é",
    "-dmcrypt",
    "--help-dmcrypt",
    ".x-dmcrypt",
    "a/b-dmcrypt",
    "x-dmcrypt\n",
    `luksmith-${"n".repeat(119)}`,
  ])("is not %j", (name) => {
    expect(isMappingName(name)).toBe(false);
  });
});
