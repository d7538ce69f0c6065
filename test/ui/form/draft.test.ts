import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { SettingsGetOutput } from "../../../src/generated/settings-get.js";
import { changesBetween } from "../../../src/ui/form/changes.js";
import { draftOf, edit, isChanged, rebased, secretsToTypeAgain } from "../../../src/ui/form/draft.js";
import { settingsForm } from "../../../src/ui/form/fields-of.js";
import { merge } from "../../../src/ui/form/merge.js";
import type { Json } from "../../../src/ui/form/json.js";
import { getAt } from "../../../src/ui/form/pointer.js";
import { isKept } from "../../../src/ui/form/secrets.js";
import { changeWords } from "../../../src/ui/form/words.js";

const FORM = settingsForm();
const FILE = "/etc/luksmith/secrets/vault-token-0123456789ab";
const STORED = {
  version: 1,
  keystores: [
    { name: "local", type: "file" },
    { name: "vault", type: "vault", url: "https://v.example", auth: { method: "token", tokenFile: FILE } },
  ],
};

function loadedFrom(stored: Record<string, unknown>, secretsSet: string[] = []): SettingsGetOutput {
  return { path: "/s.json", digest: "0".repeat(64), settings: { version: 1 }, stored, secretsSet };
}

describe("a draft", () => {
  it("that nobody edits is exactly what is stored, byte for byte", () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue()), (stored) => {
        const draft = draftOf(loadedFrom(stored));
        expect(JSON.stringify(draft.edited)).toBe(JSON.stringify(stored));
        expect(isChanged(draft)).toBe(false);
      }),
    );
  });

  it("is unchanged again when what was typed is cleared", () => {
    const typed = edit(FORM, draftOf(loadedFrom(STORED)), "/storage/rbd/user", "x");
    expect(isChanged(typed)).toBe(true);
    expect(isChanged(edit(FORM, typed, "/storage/rbd/user", undefined))).toBe(false);
  });

  it("keeps a list that was written down, though it says no more than the default", () => {
    const stored = { version: 1, rules: [] };
    const added = edit(FORM, draftOf(loadedFrom(stored)), "/rules/0", { name: "a" });
    expect(edit(FORM, added, "/rules/0", undefined).edited).toEqual(stored);
  });

  it("knows a stored secret by its file, wherever the keystore has moved to", () => {
    const draft = draftOf(loadedFrom(STORED, ["/keystores/1/auth/token"]));
    const { edited, kept } = edit(FORM, draft, "/keystores/0", undefined);
    expect(isKept(getAt(edited, "/keystores/0/auth"), "token", kept)).toBe(true);
    expect(isKept({ tokenFile: "/root/mine" }, "token", kept)).toBe(false);
    expect(isKept({ method: "token" }, "token", kept)).toBe(false);
  });

  it("goes on from what somebody else has saved, with their digest", () => {
    const draft = edit(FORM, draftOf(loadedFrom(STORED)), "/logLevel", "debug");
    const theirs = { ...loadedFrom({ ...STORED, logFile: "/l" }), digest: "1".repeat(64) };
    const next = rebased(draft, theirs, { ...STORED, logFile: "/l", logLevel: "debug" });
    expect(next).toMatchObject({
      digest: theirs.digest,
      base: { logFile: "/l" },
      edited: { logLevel: "debug" },
    });
    expect(isChanged(next)).toBe(true);
  });
});

describe("a stored secret that was removed in the meantime", () => {
  const loaded = loadedFrom(STORED, ["/keystores/1/auth/token"]);
  const theirs = loadedFrom({ ...STORED, keystores: [STORED.keystores[0]!] });
  const mineOnTop = (draft: ReturnType<typeof draftOf>) => {
    const base = draftOf(theirs).base;
    return merge(FORM, { base: draft.base, mine: draft.edited, theirs: base }).withAll;
  };

  it("does not come back with the keystore, and is to be typed again", () => {
    const draft = edit(FORM, draftOf(loaded), "/keystores/1/timeout", 20);
    const edited = mineOnTop(draft);
    const next = rebased(draft, theirs, edited);
    expect(getAt(next.edited, "/keystores/1")).toEqual({
      ...{ name: "vault", type: "vault", url: "https://v.example", timeout: 20 },
      auth: { method: "token" },
    });
    expect(next.kept).toEqual(new Set());
    expect(secretsToTypeAgain(draft, theirs, edited)).toEqual([
      {
        pointer: "/keystores/1/auth/token",
        sentence: "The stored secret was removed in the meantime. Type it in again.",
      },
    ]);
  });

  it("is not missed where a new one was typed", () => {
    const draft = edit(FORM, draftOf(loaded), "/keystores/1/auth/token", "new");
    const edited = mineOnTop(draft);
    expect(getAt(rebased(draft, theirs, edited).edited, "/keystores/1/auth")).toEqual({
      ...{ method: "token", token: "new" },
    });
    expect(secretsToTypeAgain(draft, theirs, edited)).toEqual([]);
  });

  it("is not one that they still name, nor a file of somebody's own", () => {
    const draft = edit(FORM, draftOf(loaded), "/keystores/1/auth/tokenFile", "/root/mine");
    expect(secretsToTypeAgain(draft, theirs, mineOnTop(draft))).toEqual([]);
    const kept = edit(FORM, draftOf(loaded), "/logLevel", "debug");
    expect(secretsToTypeAgain(kept, loaded, kept.edited)).toEqual([]);
    expect(rebased(kept, loaded, kept.edited)).toEqual(kept);
  });
});

describe("changes in words", () => {
  it("never tell a secret", () => {
    const before = draftOf(loadedFrom(STORED)).base;
    const after = edit(FORM, draftOf(loadedFrom(STORED)), "/keystores/1/auth/token", "s3cret").edited;
    const words = changesBetween(FORM, before, after).flatMap((change) => changeWords(FORM, after, change));
    expect(words).toEqual([
      { place: "Keystores › vault › Authentication › Token", before: "left out", after: "a new secret" },
    ]);
  });

  it("name the setting, also in a group that is new or gone", () => {
    const group = { ...STORED, headers: { keep: 7 } };
    const place = "Header backups › Keep";
    const words = (before: Json, after: Json) =>
      changesBetween(FORM, before, after).flatMap((change) => changeWords(FORM, group, change));
    expect(words(STORED, group)).toEqual([{ place, before: "default: 3", after: "7" }]);
    expect(words(group, STORED)).toEqual([{ place, before: "7", after: "default: 3" }]);
  });

  it("tell a default that held before", () => {
    const { edited } = edit(FORM, draftOf(loadedFrom(STORED)), "/logLevel", "debug");
    expect(
      changesBetween(FORM, STORED, edited).flatMap((change) => changeWords(FORM, edited, change)),
    ).toEqual([{ place: "Log level", before: "default: info", after: "debug" }]);
  });
});
