import { runHook } from "../src/main.js";

process.exitCode = await runHook("post-stop");
