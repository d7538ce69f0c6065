// Makes src/generated/ from schemas/: one TypeScript type and one precompiled validator for each schema.
// The folder is not committed, so that it cannot drift (docs/decisions/003-generated-code-is-not-committed.md).
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import Ajv from "ajv";
import standaloneCode from "ajv/dist/standalone/index.js";
import { compile } from "json-schema-to-typescript";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const schemas = join(root, "schemas");
const out = join(root, "src", "generated");

const ajv = new Ajv({
  allErrors: true,
  discriminator: true,
  strictRequired: false,
  useDefaults: true,
  code: { source: true, lines: true },
});

await mkdir(out, { recursive: true });
const files = (await readdir(schemas, { recursive: true })).filter((f) => f.endsWith(".schema.json")).sort();
const loaded = [];
for (const file of files) {
  const schema = JSON.parse(await readFile(join(schemas, file), "utf8"));
  ajv.addSchema(schema);
  loaded.push({ schema, name: basename(file, ".schema.json") });
}
for (const { schema, name } of loaded) {
  const validate = ajv.getSchema(schema.$id);
  await writeIfChanged(join(out, `validate-${name}.cjs`), standaloneCode(ajv, validate));
  await writeIfChanged(
    join(out, `validate-${name}.d.cts`),
    `import type { ValidateFunction } from "ajv";\ndeclare const validate: ValidateFunction;\nexport = validate;\n`,
  );
  const types = await compile(schema, schema.title, {
    cwd: schemas,
    additionalProperties: false,
    bannerComment: `/** Generated from schemas/${files.find((f) => basename(f) === `${name}.schema.json`)}. */`,
    $refOptions: { resolve: { local: { order: 1, canRead: true, read: (f) => readLocal(f.url) } } },
  });
  await writeIfChanged(join(out, `${name}.ts`), types);
}

/** A $ref names a schema by its $id; on disk it is found by its file name. */
function readLocal(url) {
  const file = files.find((f) => basename(f) === basename(new URL(url, "file:///").pathname));
  if (file === undefined) throw new Error(`no schema ${url}`);
  return readFile(join(schemas, file), "utf8");
}

/** Leaves a file alone that is right already, so that a running compiler or test does not see it vanish. */
async function writeIfChanged(path, text) {
  const old = await readFile(path, "utf8").catch(() => undefined);
  if (old !== text) await writeFile(path, text);
}
