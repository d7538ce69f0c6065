import { defineConfig } from "rolldown";

/**
 * dist/ mirrors the entry points: dist/hooks/*.js for plugin.json, dist/cli/luksmith.js for people. Everything is
 * bundled, so that dist/ runs without node_modules. Names survive minification: stack traces stay readable.
 */
export default defineConfig({
  input: {
    "hooks/pre-start": "hooks/pre-start.ts",
    "hooks/post-stop": "hooks/post-stop.ts",
    "hooks/pre-migrate": "hooks/pre-migrate.ts",
    "cli/luksmith": "src/cli/luksmith.ts",
    // a process of its own: src/keystore/file/protectors/pkcs11.ts
    "tokens/pkcs11": "src/keystore/file/protectors/pkcs11-process.ts",
  },
  // native and optional: it is looked for when a token is used
  external: ["pkcs11js"],
  platform: "node",
  transform: { target: "node20" },
  output: {
    dir: "dist",
    format: "esm",
    entryFileNames: "[name].js",
    // one folder deep, as src/manifest/load.ts expects of every module
    chunkFileNames: "chunks/[name]-[hash].js",
    cleanDir: true,
    banner: ({ name }) => (name === "cli/luksmith" ? "#!/usr/bin/env node" : ""),
    // parsing what a hook loads is a good part of its time
    minify: {
      compress: { keepNames: { function: true, class: true } },
      mangle: { keepNames: true },
      codegen: { removeWhitespace: true },
    },
  },
});
