import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { Field } from "../../../src/ui/form/field.js";
import { settingsForm } from "../../../src/ui/form/fields-of.js";
import { isObject, type Json } from "../../../src/ui/form/json.js";
import type { Config } from "../../../src/ui/proxmox/ext.js";
import { formConfigs } from "../../../src/ui/proxmox/form-configs.js";
import type { FormContext } from "../../../src/ui/proxmox/form-context.js";
import { escaped } from "../../../src/ui/proxmox/html.js";

const FORM = settingsForm();

function context(more: Partial<FormContext> = {}): FormContext {
  return {
    access: "change",
    kept: new Set(),
    unfolded: new Set(),
    typed: () => undefined,
    reshaped: () => undefined,
    tools: () => [],
    removal: (_, remove) => remove(),
    ...more,
  };
}

/** All components below these, the outer ones first. */
function all(configs: readonly Config[]): Config[] {
  return configs.flatMap((config) => [config, ...all((config["items"] ?? []) as readonly Config[])]);
}

const shown = (settings: Json, more: Partial<FormContext> = {}) =>
  all(formConfigs(FORM.fields, settings, "", context(more)));
const at = (configs: readonly Config[], pointer: string) =>
  configs.find((config) => config["pointer"] === pointer && config["xtype"] !== "fieldset");

/** Values that together have every property and every branch in them. */
function* samples(field: Field): Generator<Json | undefined> {
  switch (field.kind) {
    case "group":
      yield* membersOf(field.fields);
      return;
    case "list":
      for (const item of samples(field.item)) yield item === undefined ? [] : [item];
      return;
    case "variant":
      for (const branch of field.branches) {
        for (const members of membersOf(branch.fields)) yield { ...members, [field.tag]: branch.value };
      }
      return;
    case "tag":
    case "text":
    case "number":
    case "choice":
    case "texts":
    case "secret":
      yield undefined;
  }
}

function* membersOf(fields: readonly Field[]): Generator<Record<string, Json>> {
  yield {};
  for (const field of fields) {
    for (const value of samples(field)) if (value !== undefined) yield { [field.name]: value };
  }
}

interface Property {
  readonly name: string;
  readonly title: string;
  readonly description: string;
  readonly default?: Json;
  readonly writeOnly: boolean;
}

const document = (name: string) => JSON.parse(readFileSync(join("schemas", name), "utf8")) as Json;
const folderOf = (id: string) => (/^(keystore|protector|keystone|vault)-/.test(id) ? "keystore" : "storage");

/** Every property that the schema has anywhere, found without the form's own code. */
function* propertiesIn(schema: Json, root: Json): Generator<Property> {
  if (!isObject(schema)) return;
  const reference = schema["$ref"];
  if (typeof reference === "string") {
    const name = reference.replace("#/definitions/", "");
    const definitions = isObject(root) && isObject(root["definitions"]) ? root["definitions"] : {};
    const target = reference.startsWith("#")
      ? definitions[name]!
      : document(`${folderOf(reference)}/${reference}`);
    yield* propertiesIn(target, reference.startsWith("#") ? root : target);
    return;
  }
  const properties = isObject(schema["properties"]) ? schema["properties"] : {};
  for (const [name, given] of Object.entries(properties)) {
    const property = { ...referenced(given, root), ...(given as Record<string, Json>) };
    if (property["const"] !== undefined) continue;
    yield {
      name,
      title: property["title"] as string,
      description: property["description"] as string,
      writeOnly: property["writeOnly"] === true,
      ...(property["default"] === undefined ? {} : { default: property["default"] }),
    };
    yield* propertiesIn(given, root);
  }
  if (schema["items"] !== undefined) yield* propertiesIn(schema["items"], root);
  for (const branch of (schema["oneOf"] ?? []) as readonly Json[]) yield* propertiesIn(branch, root);
}

function referenced(schema: Json, root: Json): Record<string, Json> {
  const reference = isObject(schema) ? schema["$ref"] : undefined;
  if (typeof reference !== "string") return {};
  const definitions = isObject(root) && isObject(root["definitions"]) ? root["definitions"] : {};
  const target = reference.startsWith("#")
    ? definitions[reference.replace("#/definitions/", "")]
    : document(`${folderOf(reference)}/${reference}`);
  return isObject(target!) ? { ...target } : {};
}

describe("the form in Proxmox VE", () => {
  const settings = document("settings.schema.json");
  const properties = [...propertiesIn(settings, settings)];
  const everything = [...samples(FORM)].flatMap((sample) => shown(sample ?? {}));
  const named = (name: string) => everything.filter(({ pointer }) => String(pointer).endsWith(`/${name}`));
  const descriptions = new Set(everything.map(({ html }) => html));

  it("is tested with the whole schema", () => {
    expect(properties.length).toBeGreaterThan(100);
    expect(new Set(properties.map(({ name }) => name))).toContain("secretIdFile");
  });

  it.each(properties)("shows $name: $title", ({ name, title, description }) => {
    const titles = named(name).map((config) => config["fieldLabel"] ?? config["title"]);
    expect(titles).toContain(escaped(title));
    expect(descriptions).toContain(escaped(description));
  });

  it.each(
    properties.filter(
      ({ default: value }) => value !== undefined && !isObject(value) && !Array.isArray(value),
    ),
  )("says what $name is without a word of it: $default", ({ name, default: value }) => {
    const texts = named(name).map(
      ({ emptyText, comboItems }) => `${String(emptyText)} ${JSON.stringify(comboItems)}`,
    );
    const word = value === true ? "yes" : value === false ? "no" : JSON.stringify(value).replaceAll('"', "");
    expect(texts).toContainEqual(expect.stringContaining(`default: ${word}`));
  });

  it.each(properties.filter(({ writeOnly }) => writeOnly))(
    "never shows the secret $name",
    ({ name, description }) => {
      // a pkcs11 token is no secret: what is told below an input tells which it is
      const inputs = named(name).filter(
        (input) => everything[everything.indexOf(input) + 1]?.["html"] === escaped(description),
      );
      expect(inputs.length).toBeGreaterThan(0);
      for (const input of inputs) expect(input).toMatchObject({ inputType: "password", value: "" });
    },
  );

  it("has nothing in choices and placeholders that would be markup", () => {
    const texts = everything.flatMap(({ emptyText, comboItems }) => [emptyText, comboItems].flat(2));
    expect(texts.length).toBeGreaterThan(100);
    expect(texts.filter((text) => typeof text === "string" && /[<>&"]/.test(text))).toEqual([]);
  });

  it("gives every component that can be written into a place of its own", () => {
    const inputs = shown({ version: 1 }).filter(({ fieldLabel }) => fieldLabel !== undefined);
    const pointers = inputs.map(({ pointer }) => pointer);
    expect(new Set(pointers).size).toBe(pointers.length);
  });
});

describe("a secret", () => {
  const keystone = { method: "password", passwordFile: "/etc/pve/priv/luksmith/secrets/vault-password-1" };
  const settings = { version: 1, keystores: [{ name: "vault", type: "barbican", keystone }] };
  const PLACE = "/keystores/0/keystone/password";

  it("that is stored is said to be, without its file", () => {
    const configs = shown(settings, { kept: new Set([keystone.passwordFile]) });
    expect(at(configs, PLACE)).toMatchObject({
      value: "",
      emptyText: "A secret is stored; leave empty to keep it.",
    });
    expect(at(configs, `${PLACE}File`)).toMatchObject({ value: "" });
  });

  it("stays where another file was named and taken away again", () => {
    const typed: unknown[] = [];
    const kept = new Set([keystone.passwordFile]);
    const input = at(shown(settings, { kept, typed: (...all) => typed.push(all) }), `${PLACE}File`);
    const { change } = input?.["listeners"] as { change: (field: unknown, value: unknown) => void };
    change({}, "/other");
    change({}, "");
    expect(typed).toEqual([
      [`${PLACE}File`, "/other"],
      [`${PLACE}File`, keystone.passwordFile],
    ]);
  });

  it("that was just typed is not shown when the form is made anew", () => {
    const edited = {
      ...settings,
      keystores: [{ ...settings.keystores[0]!, keystone: { ...keystone, password: "hunter2" } }],
    };
    expect(JSON.stringify(shown(edited))).not.toContain("hunter2");
    expect(at(shown(edited), PLACE)).toMatchObject({ emptyText: "typed in" });
  });
});

describe("names that are markup", () => {
  const HOSTILE = `<img src=x onerror="alert('1')">`;

  it.each(["keystores", "profiles", "rules"])("are text in %s", (list) => {
    const item = { name: HOSTILE, type: HOSTILE, keystore: HOSTILE, guest: HOSTILE, tag: HOSTILE };
    const configs = shown({ [list]: [item] });
    const markup = configs.flatMap(({ title, html, fieldLabel, text, comboItems }) => [
      title,
      html,
      fieldLabel,
      text,
      comboItems,
    ]);
    expect(JSON.stringify(markup)).toContain("&#60;img src=x");
    expect(JSON.stringify(markup)).not.toContain("<img");
  });
});

describe("for those who may only look", () => {
  it("nothing can be typed, chosen or pressed", () => {
    const configs = shown(
      { version: 1, keystores: [{ name: "a", type: "file" }], rules: [{ name: "r" }] },
      { access: "read" },
    );
    expect(configs.filter(({ xtype }) => xtype === "button" || xtype === "toolbar")).toEqual([]);
    expect(
      configs.filter(({ fieldLabel, readOnly }) => fieldLabel !== undefined && readOnly !== true),
    ).toEqual([]);
  });
});
