import { LuksmithError } from "../../src/error/luksmith-error.js";
import { ExecaCommandRunner } from "../../src/exec/command-runner.js";
import { takeApart } from "../../src/settings/given.js";
import { secretsDirectoryOf } from "../../src/settings/paths.js";
import { saveSettings } from "../../src/settings/save.js";
import { untilTraced } from "../fs/until-traced.js";

/** Saves what was given in a process of its own: `PATH DIGEST TEXT`; prints `saved` or the error's code. */
const [path = "", expectedDigest = "", text = ""] = process.argv.slice(2);

untilTraced();
const given = takeApart(text, "the driver", secretsDirectoryOf(path));
saveSettings(given, { runner: new ExecaCommandRunner(), path, expectedDigest }).then(
  () => console.log("saved"),
  (thrown: unknown) => console.log(thrown instanceof LuksmithError ? thrown.code : thrown),
);
