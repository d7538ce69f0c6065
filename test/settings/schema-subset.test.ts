import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { secretPlacesIn } from "../../src/settings/secret-places.js";
import { PATTERNS } from "../../src/settings/sentences.js";

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
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly writeOnly?: boolean;
  readonly examples?: readonly unknown[];
  readonly items?: Node;
  readonly oneOf?: readonly Node[];
  readonly discriminator?: { readonly propertyName: string };
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
      "maxLength",
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
const WITHOUT_DEFAULT = [
  /^profiles\[\]\.keystore$/,
  /^rules\[\]\.(guest|tag|pool|storage|profile)$/,
  /protector\[systemd-creds\]\.tpm2Device$/,
  /\.tls\.(caFile|certificateFile|keyFile|serverName)$/,
  /^keystores\[barbican\]\.(url|projectId|keystone)$/,
  /^keystores\[barbican\]\.keystone\[[a-z-]+\]\.(region|tls)$/,
  /^keystores\[kmip\]\.(user|passwordFile)$/,
  /^keystores\[vault\]\.namespace$/,
];

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

/** Every field, also of lists' entries and of each choice: `keystores[vault].auth[token].tokenFile`. */
function fieldsOf(parent: Node, prefix = ""): Field[] {
  return Object.entries(parent.properties ?? {}).flatMap(([key, property]) => {
    const node = resolve(property);
    const path = `${prefix}${key}`;
    const field = { path, node, required: parent.required?.includes(key) ?? false };
    return [field, ...fieldsWithin(node.items ? resolve(node.items) : node, path, node.items ? "[]" : "")];
  });
}

function fieldsWithin(node: Node, path: string, entry: string): Field[] {
  if (node.oneOf === undefined) return fieldsOf(node, `${path}${entry}.`);
  return choicesOf(node).flatMap(({ name, branch }) => fieldsOf(branch, `${path}[${name}].`));
}

/** The branches of a choice, by the constant that tells them apart. */
function choicesOf(node: Node) {
  const tag = node.discriminator?.propertyName ?? "";
  return (node.oneOf ?? []).map(resolve).map((branch) => ({
    branch,
    name: String(branch.properties?.[tag]?.const),
  }));
}

const fields = fieldsOf(root);

describe("the settings' schema", () => {
  it("has the fields that these tests know", () => {
    expect(fields.map(({ path }) => path)).toEqual(
      expect.arrayContaining([
        "version",
        "keystores",
        "keystores[file].directory",
        "keystores[vault].auth[token].tokenFile",
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
      expect(
        required ||
          node.writeOnly ||
          WITHOUT_DEFAULT.some((known) => known.test(path)) ||
          node.default !== undefined,
      ).toBe(true);
    });

    it("has an example where it is a text that somebody must write", () => {
      const isWritten = node.type === "string" && !node.writeOnly && node.enum === undefined;
      const examples = node.examples ?? [];
      expect(!isWritten || node.default !== undefined || examples.length > 0).toBe(true);
      for (const example of examples)
        expect(typeof example === "string" && new RegExp(node.pattern ?? "", "u").test(example)).toBe(true);
    });

    it("is of a kind that every settings page renders", () => {
      expect(Object.keys(node).filter((keyword) => !KEYWORDS.has(keyword))).toEqual([]);
      expect(kindOf(node)).not.toBe("unknown");
      // a choice is within one other choice at most
      if (path.split("[").length > 2) expect(kindOf(node)).not.toBe("choice");
    });

    it("has a sentence for its pattern", () => {
      if (node.pattern !== undefined) expect(PATTERNS).toHaveProperty([node.pattern]);
      expect(Object.values(PATTERNS).every((sentence) => sentence.startsWith("must be "))).toBe(true);
    });
  });

  it("tells what is chosen among by a constant, and describes each choice", () => {
    const choices = [
      ...fields.map(({ node }) => node),
      ...fields.map(({ node }) => resolve(node.items ?? {})),
    ]
      .filter(({ oneOf }) => oneOf !== undefined)
      .flatMap(choicesOf);
    expect(choices.map(({ name }) => name)).toEqual(expect.arrayContaining(["file", "barbican", "approle"]));
    for (const { name, branch } of choices) {
      expect(name).not.toBe("undefined");
      expect(branch.oneOf).toBeUndefined();
      expect(branch.description).toMatch(/\.$/);
    }
  });
});

describe("secrets in the settings' schema", () => {
  const secrets = fields.filter(({ node }) => node.writeOnly);

  it("are where the code looks for them, each beside the file that keeps it", () => {
    const written = secrets.map(({ path }) => path);
    expect(written.sort()).toEqual(placesOfCode().sort());
    for (const { path, required } of secrets) {
      expect(required).toBe(false);
      expect(fields.map((field) => field.path)).toContain(`${path}File`);
    }
  });

  it.each(secrets)("say what becomes of $path, and take any printable text on one line", ({ node }) => {
    expect(node.description).toContain("in a file of its own that only root reads");
    expect(node).toMatchObject({ type: "string", minLength: 1 });
    expect(node.maxLength).toBeLessThanOrEqual(4096);
    expect(node).not.toHaveProperty("default");
    expect(node).not.toHaveProperty("examples");
    const pattern = new RegExp(node.pattern ?? "", "u");
    for (const text of ["p w", "pässwörd", "🔑", "密碼", '"\\']) expect(pattern.test(text), text).toBe(true);
    for (const text of ["a\n", "a\r", "\0", "\u007f", "\u0085", "\ud83d"])
      expect(pattern.test(text), JSON.stringify(text)).toBe(false);
  });
});

/** Where secrets can be, by the code, in the words of these tests. */
function placesOfCode(): string[] {
  const choices = fields.filter(({ node }) => (node.items ?? node).oneOf !== undefined);
  return choices.flatMap(({ path, node }) => {
    const tag = (node.items ?? node).discriminator?.propertyName ?? "";
    return choicesOf(node.items ?? node).flatMap(({ name }) =>
      secretPlacesIn(holding(path, { [tag]: name })).flatMap(
        ({ property }) => `${path}[${name}].${property}`,
      ),
    );
  });
}

/** Settings with nothing in them but `object`, at a place such as `keystores[vault].auth`. */
function holding(path: string, object: object): object {
  if (path === "keystores") return { keystores: [object] };
  const [outer = "", inner = ""] = path.split(".");
  return outer === "cache" ? { cache: { [inner]: object } } : { keystores: [{ [inner]: object }] };
}

function parentOf(path: string): string {
  return path.slice(0, path.lastIndexOf(".") + 1);
}

function kindOf(node: Node): string {
  if (node.const !== undefined || node.enum !== undefined) return "scalar";
  if (["string", "integer", "boolean"].includes(node.type ?? "")) return "scalar";
  if (node.type === "object" && node.properties !== undefined) return "section";
  if (node.type === "object" && node.discriminator !== undefined) return "choice";
  if (node.type !== "array" || node.items === undefined) return "unknown";
  const item = resolve(node.items);
  if (item.type === "string") return "list of texts";
  return item.type === "object" ? "list of objects" : "unknown";
}
