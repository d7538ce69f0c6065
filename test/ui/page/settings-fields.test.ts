import { describe, expect, it } from "vitest";
import type { Json, JsonObject } from "../../../src/ui/form/json.js";
import { type Pointer, setAt, within } from "../../../src/ui/form/pointer.js";
import { resolve, type Schema, SETTINGS_SCHEMA } from "../../../src/ui/form/schema.js";
import { idOf } from "../../../src/ui/page/settings/use-focus.js";
import { renderSettings, tagWithId, textOf, textWithId } from "./settings-world.js";

/** Settings with one item in every list and one branch for every choice. */
interface World {
  readonly settings: JsonObject;
  readonly properties: readonly Property[];
}

/** Found by walking the schema itself, not the form that is made of it. */
interface Property {
  readonly pointer: Pointer;
  readonly schema: Schema;
  readonly required: boolean;
}

/** One world for each branch: the branches of choices that do not meet are shown together. */
function worlds(): World[] {
  const all: World[] = [];
  for (let turn = 0; turn < 20; turn += 1) {
    const properties: Property[] = [];
    const value = fill(SETTINGS_SCHEMA, "", { turn, properties });
    all.push({ settings: value as JsonObject, properties });
  }
  return all;
}

interface Walk {
  readonly turn: number;
  readonly properties: Property[];
}

function fill(given: Schema, pointer: Pointer, walk: Walk): Json {
  const schema = resolve(given);
  if (schema.const !== undefined) return schema.const;
  if (schema.oneOf !== undefined) {
    // nested choices turn at another pace, so that all pairs are met
    const pace = pointer.split("/").length > 3 ? 4 : 1;
    const branch = schema.oneOf[Math.floor(walk.turn / pace) % schema.oneOf.length]!;
    return fill(branch, pointer, walk);
  }
  if (schema.type === "array") {
    const item = resolve(schema.items!);
    return item.type === "string"
      ? ["age1qqqqqqqqqqqqqqqqqqqqqqqqq"]
      : [fill(item, within(pointer, 0), walk)];
  }
  if (schema.properties === undefined) return "";
  let object: Json = {};
  for (const [name, property] of Object.entries(schema.properties)) {
    const resolved = resolve(property);
    const place = within(pointer, name);
    walk.properties.push({
      pointer: place,
      schema: resolved,
      required: schema.required?.includes(name) === true,
    });
    const isObject =
      resolved.oneOf !== undefined || resolved.properties !== undefined || resolved.type === "array";
    if (isObject || resolved.const !== undefined)
      object = setAt(object, `/${name}`, fill(property, place, walk))!;
    else if (name === "name") object = setAt(object, "/name", "it")!;
  }
  return object;
}

const PAGES = worlds().map((world) => ({ ...world, html: renderSettings(world.settings) }));

describe("the settings page", () => {
  it("meets every branch of the schema in this test", () => {
    const found = new Set(
      PAGES.flatMap(({ properties }) => properties.map(({ schema: { description } }) => description)),
    );
    const reachable = new Set(branchDescriptions(SETTINGS_SCHEMA));
    expect([...reachable].filter((description) => !found.has(description))).toEqual([]);
    expect(reachable.size).toBeGreaterThan(60);
  });

  it("shows every property with its title, its description and its default", () => {
    for (const { html, properties } of PAGES) {
      const text = textOf(html);
      for (const { schema, pointer } of properties) {
        expect(text, pointer).toContain(schema.title!);
        expect(text, pointer).toContain(schema.description!);
        const { default: fallback } = schema;
        if (typeof fallback === "string" || typeof fallback === "number")
          expect(text, pointer).toContain(`Default: ${fallback}`);
        if (typeof fallback === "boolean")
          expect(text, pointer).toContain(`Default: ${fallback ? "yes" : "no"}`);
      }
    }
  });

  it("has an input or a group for every property, by its pointer", () => {
    for (const { html, properties } of PAGES) {
      for (const { pointer } of properties) expect(tagWithId(html, idOf(pointer)), pointer).toBeTruthy();
    }
  });

  it("describes every input by its help", () => {
    for (const { html, properties } of PAGES) {
      for (const { pointer, schema } of properties) {
        const tag = tagWithId(html, idOf(pointer));
        if (!/^<(input|select)/.test(tag)) continue;
        expect(tag, pointer).toContain(`${idOf(pointer)}-help`);
        expect(textWithId(html, `${idOf(pointer)}-help`), pointer).toContain(schema.description!);
        expect(html, pointer).toContain(`for="${idOf(pointer)}"`);
      }
    }
  });

  it("marks what is required, and nothing else", () => {
    for (const { html, properties } of PAGES) {
      const secrets = properties
        .filter(({ schema }) => schema.writeOnly === true)
        .map(({ pointer }) => `${pointer}File`);
      for (const { pointer, schema, required } of properties) {
        const tag = tagWithId(html, idOf(pointer));
        if (schema.writeOnly === true || secrets.includes(pointer) || !/^<(input|select)/.test(tag)) continue;
        const isTagOfNeededChoice = schema.const !== undefined && !isOptionalChoice(properties, pointer);
        expect(tag.includes('required=""'), pointer).toBe(
          schema.const === undefined ? required : isTagOfNeededChoice,
        );
      }
    }
  });

  it("types every secret into a password input that never has a value", () => {
    const secrets = PAGES.flatMap(({ html, properties }) =>
      properties
        .filter(({ schema }) => schema.writeOnly === true)
        .map(({ pointer }) => ({
          name: pointer.slice(pointer.lastIndexOf("/") + 1),
          tag: tagWithId(html, idOf(pointer)),
        })),
    );
    expect(new Set(secrets.map(({ name }) => name))).toEqual(
      new Set(["password", "secret", "token", "secretId", "pin"]),
    );
    for (const { tag } of secrets) {
      expect(tag).toContain('type="password"');
      expect(tag).toContain('autoComplete="new-password"');
      expect(tag).toContain('value=""');
    }
  });

  it("has one h1 less than a page, and headings in order below it", () => {
    const levels = [...PAGES[0]!.html.matchAll(/<h([1-6])/g)].map(([, level]) => Number(level));
    levels.forEach((level, index) => expect(level).toBeLessThanOrEqual((levels[index - 1] ?? 1) + 1));
    expect(levels).toContain(3);
    expect(levels).not.toContain(1);
  });

  it("uses each id once, and no inline style", () => {
    for (const { html } of PAGES) {
      const ids = [...html.matchAll(/ id="([^"]+)"/g)].map(([, id]) => id);
      expect(ids.filter((id, index) => ids.indexOf(id) !== index)).toEqual([]);
      expect(html).not.toMatch(/ style="/);
    }
  });
});

function isOptionalChoice(properties: readonly Property[], tag: Pointer): boolean {
  const choice = tag.slice(0, tag.lastIndexOf("/"));
  return properties.some(({ pointer, required }) => pointer === choice && !required);
}

function branchDescriptions(given: Schema): string[] {
  const schema = resolve(given);
  const children = [
    ...(schema.oneOf ?? []),
    ...(schema.items === undefined ? [] : [schema.items]),
    ...Object.values(schema.properties ?? {}),
  ];
  const own = Object.values(schema.properties ?? {}).flatMap(
    (property) => resolve(property).description ?? [],
  );
  return [...own, ...children.flatMap(branchDescriptions)];
}
