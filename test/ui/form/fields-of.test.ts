import { describe, expect, it } from "vitest";
import type { Field, SecretField, VariantField } from "../../../src/ui/form/field.js";
import { settingsForm } from "../../../src/ui/form/fields-of.js";
import { resolve, SETTINGS_SCHEMA } from "../../../src/ui/form/schema.js";
import { fieldAt } from "../../../src/ui/form/navigate.js";

const FORM = settingsForm();

function under(field: Field): Field[] {
  switch (field.kind) {
    case "group":
      return [field, ...field.fields.flatMap(under)];
    case "variant":
      return [field, ...field.branches.flatMap((branch) => branch.fields.flatMap(under))];
    case "list":
    case "texts":
      return [field, ...under(field.item)];
    case "secret":
      return [field, field.file];
    case "tag":
    case "text":
    case "number":
    case "choice":
      return [field];
  }
}

describe("settingsForm", () => {
  it("has every property of the schema, in its order", () => {
    expect(FORM.fields.map(({ name }) => name)).toEqual(Object.keys(SETTINGS_SCHEMA.properties!));
  });

  it("has a title and a description for everything that people see", () => {
    const named = under(FORM).filter(({ name }) => name !== "");
    expect(
      named.filter(({ title, description }) => title === "" || description === "").map(({ name }) => name),
    ).toEqual([]);
    expect(named.length).toBeGreaterThan(100);
  });

  it("shows each secret with the file that may have it, once", () => {
    const secrets = under(FORM).filter((field): field is SecretField => field.kind === "secret");
    expect([...new Set(secrets.map(({ name }) => name))].sort()).toEqual([
      "password",
      "pin",
      "secret",
      "secretId",
      "token",
    ]);
    for (const { name, file } of secrets) expect(file.name).toBe(`${name}File`);
    const shown = under(FORM).flatMap((field) =>
      field.kind === "group" ? field.fields.map(({ name }) => name) : [],
    );
    expect(shown.filter((name) => secrets.some(({ file }) => file.name === name))).toEqual([]);
  });

  it("wants a secret where the schema wants its file", () => {
    const settings = { keystores: [{ type: "vault", auth: { method: "approle" } }, { type: "kmip" }] };
    expect(fieldAt(FORM, settings, "/keystores/0/auth/secretId")?.required).toBe("required");
    expect(fieldAt(FORM, settings, "/keystores/1/password")?.required).toBe("optional");
  });

  it("calls a branch by the beginning of what the schema says of it", () => {
    const { branches } = fieldAt(FORM, {}, "/cache/protector") as VariantField;
    expect(branches.map(({ label }) => label)).toEqual([
      "A file that only root reads",
      "A credential of systemd-creds",
      "A TPM 2.0",
      "Tang servers",
      "A token (HSM) with a PKCS#11 module",
    ]);
  });

  it("knows a choice within a choice", () => {
    const settings = { keystores: [{ type: "barbican", keystone: { method: "application-credential" } }] };
    expect(fieldAt(FORM, settings, "/keystores/0/keystone/secret")?.kind).toBe("secret");
    expect(fieldAt(FORM, settings, "/keystores/0/keystone/user")).toBeUndefined();
  });

  it("refuses a schema that it cannot show, rather than leave a setting out", () => {
    expect(() => resolve({ $ref: "missing.schema.json" })).toThrow("no schema");
  });
});
