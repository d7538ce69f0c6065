import { defineConfig } from "vitest/config";
import { GROUPS, UNIT } from "../test/lab/groups.ts";

const project = (name, options) => ({ extends: true, test: { name, ...options } });

/** One project for the tests that need no service, and one for each group of test/lab/groups.ts. */
export default defineConfig({
  test: {
    testTimeout: 60_000,
    hookTimeout: 60_000,
    pool: "forks",
    // files of one group run beside each other: each starts its own daemons
    maxWorkers: 2,
    // its ES modules are named .js in a package of CommonJS, and import style sheets
    server: { deps: { inline: [/@patternfly/] } },
    projects: [
      project(UNIT.name, { include: ["test/**/*.test.{ts,tsx}"], exclude: ["test/**/*.*.test.ts"] }),
      ...GROUPS.map(({ name, machine, workers }) =>
        project(name, {
          include: [`test/**/*.${name}.test.ts`],
          setupFiles: machine === "uml" ? ["test/lab/uml-guard.ts"] : [],
          // no file may see another one's devices; what the command line says does not reach a project
          ...(machine === "uml" ? { maxWorkers: 1 } : workers === undefined ? {} : { maxWorkers: workers }),
        }),
      ),
    ],
  },
});
