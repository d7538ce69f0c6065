import { defineConfig } from "rolldown";

/** dist/ mirrors the entry points: dist/hooks/*.js for plugin.json, dist/cli/luksmith.js for people. */
export default defineConfig({
  input: {
    "hooks/pre-start": "hooks/pre-start.ts",
    "hooks/post-stop": "hooks/post-stop.ts",
    "hooks/pre-migrate": "hooks/pre-migrate.ts",
    "cli/luksmith": "src/cli/luksmith.ts",
  },
  platform: "node",
  transform: { target: "node20" },
  output: {
    dir: "dist",
    format: "esm",
    entryFileNames: "[name].js",
    chunkFileNames: "chunks/[name]-[hash].js",
    cleanDir: true,
  },
});
