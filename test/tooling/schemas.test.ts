import { basename } from "node:path";
import { Ajv } from "ajv";
import { describe, expect, test } from "vitest";
import { projectFiles, readJson } from "./project-files.js";

interface Schema {
  readonly $id?: string;
  readonly $ref?: string;
  readonly title?: string;
  readonly description?: string;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly [keyword: string]: unknown;
}

const files = projectFiles("schemas").filter((path) => path.endsWith(".schema.json"));
const schemas = new Map(files.map((path) => [path, readJson(path) as Schema]));
const ajv = new Ajv({ allErrors: true, discriminator: true, strictRequired: false });
for (const schema of schemas.values()) ajv.addSchema(schema);

test("there are schemas", () => {
  expect(files).toContain("schemas/settings.schema.json");
});

describe.each([...schemas])("%s", (path, schema) => {
  test("compiles strictly under the name of its file", () => {
    expect(schema.$id).toBe(basename(path));
    expect(ajv.getSchema(schema.$id!)).toBeTypeOf("function");
  });

  test("describes every field that has a title: a form shows both", () => {
    const undescribed = fieldsOf(schema)
      .map(([name, field]) => [name, { ...resolve(schema, field), ...field }] as const)
      .filter(([, { title, description }]) => title !== undefined && !description)
      .map(([name]) => name);

    expect(undescribed).toEqual([]);
  });
});

/** Every entry of every `properties` in `schema`, with its path. */
function fieldsOf(schema: object, path = ""): [name: string, field: Schema][] {
  return Object.entries(schema).flatMap(([keyword, value]: [string, unknown]) => {
    if (typeof value !== "object" || value === null) return [];
    const inner = fieldsOf(value, `${path}/${keyword}`);
    if (keyword !== "properties") return inner;
    const own = Object.entries(value as Record<string, Schema>);
    return [...own.map(([name, field]): [string, Schema] => [`${path}/${name}`, field]), ...inner];
  });
}

/** What a field's `$ref` points to, in its own file or another one. */
function resolve(root: Schema, field: Schema): Schema {
  if (field.$ref === undefined) return {};
  if (!field.$ref.startsWith("#/")) return [...schemas.values()].find(({ $id }) => $id === field.$ref) ?? {};
  let node: unknown = root;
  for (const key of field.$ref.slice(2).split("/")) node = (node as Record<string, unknown>)[key];
  return node as Schema;
}
