import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { PATTERNS } from "../../src/settings/errors.js";

/** The part of JSON Schema that every settings page renders. */
interface Node {
  readonly $ref?: string;
  readonly title?: string;
  readonly description?: string;
  readonly type?: string;
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly default?: unknown;
  readonly pattern?: string;
  readonly items?: Node;
  readonly oneOf?: readonly Node[];
  readonly properties?: Readonly<Record<string, Node>>;
  readonly required?: readonly string[];
}

const SCHEMAS = new URL("../../schemas", import.meta.url).pathname;
const KEYWORDS = new Set(
  [
    "$schema",
    "$id",
    "$ref",
    "title",
    "description",
    "type",
    "const",
    "enum",
    "default",
    "examples",
    "writeOnly",
  ].concat(
    [
      "pattern",
      "minLength",
      "minimum",
      "maximum",
      "minItems",
      "items",
      "uniqueItems",
      "properties",
      "required",
    ],
    ["additionalProperties", "oneOf", "discriminator", "definitions"],
  ),
);

/** Optional fields whose absence means something that no value says. */
const WITHOUT_DEFAULT = new Set([
  "profiles[].keystore",
  "rules[].guest",
  "rules[].tag",
  "rules[].storage",
  "rules[].profile",
]);

function read(file: string): Node {
  const path = readdirSync(SCHEMAS, { recursive: true, encoding: "utf8" }).find((name) =>
    name.endsWith(file),
  );
  return JSON.parse(readFileSync(join(SCHEMAS, path!), "utf8")) as Node;
}

const root = read("settings.schema.json");
const definitions = (root as { definitions: Record<string, Node> }).definitions;

/** A $ref with its siblings laid over what it points to, as renderers read it. */
function resolve(node: Node): Node {
  const { $ref, ...own } = node;
  if ($ref === undefined) return node;
  const target = $ref.startsWith("#/definitions/") ? definitions[$ref.slice(14)]! : read($ref);
  return { ...resolve(target), ...own };
}

interface Field {
  readonly path: string;
  readonly node: Node;
  readonly required: boolean;
}

function fieldsOf(parent: Node, prefix = ""): Field[] {
  return Object.entries(parent.properties ?? {}).flatMap(([key, property]) => {
    const node = resolve(property);
    const field = { path: `${prefix}${key}`, node, required: parent.required?.includes(key) ?? false };
    const item = node.items && resolve(node.items);
    const branches = (item?.oneOf ?? (item ? [item] : [])).map(resolve);
    const section = fieldsOf(node, `${prefix}${key}.`);
    return [field, ...section, ...branches.flatMap((branch) => fieldsOf(branch, `${prefix}${key}[].`))];
  });
}

const fields = fieldsOf(root);

describe("the settings' schema", () => {
  it("has the fields that these tests know", () => {
    expect(fields.map(({ path }) => path)).toEqual(
      expect.arrayContaining([
        "version",
        "keystores",
        "keystores[].directory",
        "profiles[].cipher",
        "rules[].encrypt",
        "storage.block.formatting",
      ]),
    );
  });

  describe.each(fields)("$path", ({ path, node, required }) => {
    it("has a title of its own and a description", () => {
      const siblings = fields.filter((field) => parentOf(field.path) === parentOf(path));
      expect(siblings.filter(({ node: { title } }) => title === node.title)).toHaveLength(1);
      expect(node.title).toMatch(/^[A-Za-z].*[^.]$/);
      expect(node.description).toMatch(/^[A-Z].*\.$/);
    });

    it("has a default unless it must be given", () => {
      expect(required || WITHOUT_DEFAULT.has(path) || node.default !== undefined).toBe(true);
    });

    it("is of a kind that every settings page renders", () => {
      expect(Object.keys(node).filter((keyword) => !KEYWORDS.has(keyword))).toEqual([]);
      expect(kindOf(node)).toMatch(path.includes("[]") ? /^(scalar|list of texts)$/ : /./);
      expect(kindOf(node)).not.toBe("unknown");
    });

    it("has a sentence for its pattern", () => {
      if (node.pattern !== undefined) expect(PATTERNS).toHaveProperty([node.pattern]);
      expect(Object.values(PATTERNS).every((sentence) => sentence.startsWith("must be "))).toBe(true);
    });
  });

  it("tells keystores apart by a constant type, one level deep", () => {
    const branches = (root.properties!["keystores"]!.items!.oneOf ?? []).map(resolve);
    expect(branches.length).toBeGreaterThan(0);
    for (const branch of branches) {
      expect(branch.oneOf).toBeUndefined();
      expect(branch.description).toMatch(/\.$/);
      expect(typeof branch.properties!["type"]!.const).toBe("string");
    }
  });
});

function parentOf(path: string): string {
  return path.slice(0, path.lastIndexOf(".") + 1);
}

function kindOf(node: Node): string {
  if (node.const !== undefined || node.enum !== undefined) return "scalar";
  if (["string", "integer", "boolean"].includes(node.type ?? "")) return "scalar";
  if (node.type === "object" && node.properties !== undefined) return "section";
  if (node.type === "object" && node.properties !== undefined) return "group of fields";
  if (node.type !== "array" || node.items === undefined) return "unknown";
  const item = resolve(node.items);
  if (item.type === "string") return "list of texts";
  return item.type === "object" ? "list of objects" : "unknown";
}
