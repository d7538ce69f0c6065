import { runHook } from "../src/main.js";

process.exit(await runHook("pre-start"));
