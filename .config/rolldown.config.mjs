import { cpSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
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
  plugins: [storagePlugin(), licenses()],
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

/** Who wrote what is bundled, and under which license it may be: each of them wants its text to come along. */
function licenses() {
  return {
    name: "licenses",
    generateBundle(_, bundle) {
      const modules = Object.values(bundle).flatMap((chunk) => chunk.moduleIds ?? []);
      const folders = modules.flatMap(
        (id) => /^.*\/node_modules\/(@[^/]+\/)?[^/]+(?=\/)/.exec(id)?.[0] ?? [],
      );
      const texts = [...new Set(folders)].map(licenseOf).sort();
      this.emitFile({ type: "asset", fileName: "third-party-licenses.txt", source: texts.join("\n") });
    },
  };
}

function licenseOf(folder) {
  const { name, version, license } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  const file = readdirSync(folder).find((entry) => /^licen[cs]e/i.test(entry));
  if (file === undefined) throw new Error(`${name} has no license file`);
  const text = readFileSync(join(folder, file), "utf8").trim();
  return `${name} ${version}: ${license}\n\n${text}\n`;
}
