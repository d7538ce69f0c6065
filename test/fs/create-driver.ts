import { createFile } from "../../src/fs/atomic-file.js";
import { untilTraced } from "./until-traced.js";

// PATH TEXT: creates the file with the text, and prints what came of it
const [path = "", text = ""] = process.argv.slice(2);
untilTraced();
process.stdout.write(createFile(path, Buffer.from(text), 0o600));
