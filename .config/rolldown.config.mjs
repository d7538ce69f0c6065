import { cpSync, rmSync } from "node:fs";
import { join } from "node:path";
import { defineConfig } from "rolldown";
import { bundleLicenses } from "./bundle-licenses.mjs";
import { pageStyles } from "./page-styles.mjs";
import { withoutTooltips } from "./without-tooltips.mjs";

/**
 * dist/ mirrors the entry points: dist/hooks/*.js for plugin.json, dist/cli/luksmith.js for people. Everything is
 * bundled, so that dist/ runs without node_modules. Names survive minification: stack traces stay readable.
 */
const engine = defineConfig({
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
  plugins: [storagePlugin(), bundleLicenses()],
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

/** dist/ui/: the pages, as one script and one style sheet that every home of theirs can serve under a strict CSP. */
const pages = defineConfig({
  input: { app: "src/ui/page/main.tsx" },
  plugins: [
    pageStyles(),
    withoutTooltips(),
    copied("src/ui/page/index.html", "index.html"),
    copied("src/ui/cockpit", "cockpit"),
    bundleLicenses({ besides: ["@patternfly/patternfly"] }),
  ],
  platform: "browser",
  tsconfig: "src/ui/tsconfig.json",
  transform: { target: "es2022", define: { "process.env.NODE_ENV": '"production"' } },
  output: { dir: "dist/ui", format: "esm", entryFileNames: "[name].js", minify: true },
});

/**
 * dist/ui/proxmox/: the panel in Proxmox VE's web interface, a classic script among its own. Not strict: ExtJS looks for
 * the caller of a method, which strict functions hide.
 */
const panel = defineConfig({
  input: { "luksmith-panel": "src/ui/proxmox/panel.ts" },
  plugins: [bundleLicenses()],
  platform: "browser",
  tsconfig: "src/ui/tsconfig.json",
  transform: { target: "es2022" },
  output: {
    dir: "dist/ui/proxmox",
    format: "iife",
    entryFileNames: "[name].js",
    strict: false,
    minify: true,
  },
});

// in this order: the first one empties dist/
export default [engine, pages, panel];

/** The Perl modules of Proxmox VE's storage plugin, which `luksmith install` copies and nothing compiles. */
function storagePlugin() {
  return {
    name: "storage-plugin",
    writeBundle({ dir }) {
      // cleanDir knows only what was bundled
      rmSync(join(dir, "perl"), { recursive: true, force: true });
      cpSync("src/host/proxmox/perl", join(dir, "perl"), { recursive: true });
    },
  };
}

/** A file, or a directory with all that is in it. */
function copied(path, name) {
  return {
    name: `copied ${name}`,
    writeBundle: ({ dir }) => cpSync(path, join(dir, name), { recursive: true }),
  };
}
