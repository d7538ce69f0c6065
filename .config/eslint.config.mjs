import tseslint from "typescript-eslint";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
/** A file is checked by the first that has it. */
const projects = ["./tsconfig.json", "./src/ui/tsconfig.json", "./test/ui/tsconfig.json"];

/** Modules that only one place of the source tree may import: [module, folder or file that may, why]. */
const restricted = [
  { name: "execa", owner: "src/exec/**", message: "processes are started by src/exec only" },
  { name: "node:child_process", owner: "src/exec/**", message: "processes are started by src/exec only" },
  {
    name: "tsyringe",
    owner: "src/{container,di}.ts",
    message: "only the composition root knows the container",
  },
];
const paths = (file) =>
  restricted.filter((r) => r.owner !== file).map(({ name, message }) => ({ name, message }));

export default tseslint.config(
  { ignores: ["dist/**", "src/generated/**", "coverage/**", "**/*.mjs"] },
  {
    files: ["**/*.{ts,tsx}"],
    extends: [tseslint.configs.strictTypeChecked],
    languageOptions: { parserOptions: { project: projects, tsconfigRootDir: root } },
    rules: {
      "@typescript-eslint/switch-exhaustiveness-check": "error",
      "@typescript-eslint/consistent-type-imports": "error",
      "@typescript-eslint/restrict-template-expressions": ["error", { allowNumber: true }],
      "@typescript-eslint/no-confusing-void-expression": ["error", { ignoreArrowShorthand: true }],
      // reports `new` of a class with no private member where an interface is wanted
      "@typescript-eslint/no-unsafe-class-instance-assignment": "off",
      // the compiler knows them for `using`, Node 20 does not
      "no-restricted-globals": ["error", "DisposableStack", "AsyncDisposableStack", "SuppressedError"],
      "max-lines": ["error", { max: 250, skipBlankLines: true, skipComments: true }],
      eqeqeq: "error",
    },
  },
  {
    files: ["src/**/*.{ts,tsx}", "hooks/**/*.ts"],
    rules: { "no-restricted-imports": ["error", { paths: paths() }] },
  },
  ...restricted.map((r) => ({
    files: [r.owner],
    rules: { "no-restricted-imports": ["error", { paths: paths(r.owner) }] },
  })),
  {
    files: ["test/**/*.{ts,tsx}"],
    rules: { "max-lines": "off", "@typescript-eslint/no-non-null-assertion": "off" },
  },
);
