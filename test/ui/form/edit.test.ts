import { describe, expect, it } from "vitest";
import { enter, withBranch, withoutBranch } from "../../../src/ui/form/edit.js";
import type { VariantField } from "../../../src/ui/form/field.js";
import { settingsForm } from "../../../src/ui/form/fields-of.js";
import type { Json } from "../../../src/ui/form/json.js";
import { fieldAt } from "../../../src/ui/form/navigate.js";

const FORM = settingsForm();
const VAULT = {
  version: 1,
  keystores: [
    { name: "v", type: "vault", url: "https://v.example", auth: { method: "approle", roleId: "r" } },
  ],
};

describe("enter", () => {
  it("writes what is typed, and leaves out again what is cleared, with the objects that were made for it", () => {
    const typed = enter(FORM, { version: 1 }, "/storage/rbd/user", "luksmith");
    expect(typed).toEqual({ version: 1, storage: { rbd: { user: "luksmith" } } });
    expect(enter(FORM, typed, "/storage/rbd/user", undefined)).toEqual({ version: 1 });
  });

  it("keeps an object that still says something", () => {
    const settings = { version: 1, headers: { keep: 5, directory: "/h" } };
    expect(enter(FORM, settings, "/headers/keep", undefined)).toEqual({
      version: 1,
      headers: { directory: "/h" },
    });
  });

  it("keeps an empty object that the schema wants", () => {
    const settings = { keystores: [{ name: "k", type: "kmip", host: "h", tls: { caFile: "/ca" } }] };
    expect(enter(FORM, settings, "/keystores/0/tls/caFile", undefined)).toEqual({
      keystores: [{ name: "k", type: "kmip", host: "h", tls: {} }],
    });
  });

  it("writes down the default keystore when another one comes, which would replace it else", () => {
    expect(enter(FORM, { version: 1 }, "/keystores/1", { type: "kmip" })).toEqual({
      version: 1,
      keystores: [{ name: "local", type: "file" }, { type: "kmip" }],
    });
  });

  it("leaves a list out again that says no more than its default", () => {
    const added = enter(FORM, { version: 1 }, "/keystores/1", { type: "kmip" });
    expect(enter(FORM, added, "/keystores/1", undefined)).toEqual({ version: 1 });
  });

  it("never makes an item vanish whose last text was cleared", () => {
    const settings = { version: 1, rules: [{ name: "all" }] };
    expect(enter(FORM, settings, "/rules/0/name", undefined)).toEqual({ version: 1, rules: [{}] });
  });
});

describe("a branch", () => {
  const keystore = fieldAt(FORM, VAULT, "/keystores/0") as VariantField;

  it("takes nothing of the former one along but the name", () => {
    const kmip = keystore.branches.find(({ value }) => value === "kmip")!;
    const stored: Json = { ...VAULT.keystores[0]!, auth: { method: "token", tokenFile: "/secret" } };
    expect(withBranch(keystore, stored, kmip)).toEqual({ name: "v", type: "kmip", tls: {} });
  });

  it("inside a branch drops the credential of the former one", () => {
    const auth = fieldAt(FORM, VAULT, "/keystores/0/auth") as VariantField;
    const token = auth.branches.find(({ value }) => value === "token")!;
    const changed = withBranch(auth, { method: "approle", roleId: "r", secretIdFile: "/s" }, token);
    expect(changed).toEqual({ method: "token" });
  });

  it("that is not chosen leaves an optional object out, and keeps the name of a needed one", () => {
    expect(withoutBranch(keystore, { name: "v", type: "vault" })).toEqual({ name: "v" });
    const file = { keystores: [{ name: "f", type: "file" }] };
    const protector = fieldAt(FORM, file, "/keystores/0/protector") as VariantField;
    expect(withoutBranch(protector, { type: "tpm2" })).toBeUndefined();
  });
});
