import { ExecaCommandRunner } from "../../../src/exec/command-runner.js";
import { KeystoreCare } from "../../../src/keystore/file/care.js";
import { untilTraced } from "../../fs/until-traced.js";

/** One change in a process of its own: `reprotect|create DIRECTORY LOCKS`; to the host's key of systemd-creds. */
const [operation, directory = "", locks = ""] = process.argv.slice(2);
const protector = { type: "systemd-creds", with: "host", pcrs: "7" } as const;
const care = new KeystoreCare(
  { name: "local", type: "file", directory, protector },
  new ExecaCommandRunner(),
  locks,
);

async function perform(): Promise<void> {
  if (operation === "reprotect") await care.reprotect("apply");
  else await care.createRecovery({ manner: "apply", existing: "keep" }, () => Promise.resolve());
}

untilTraced();
perform().then(
  () => {
    console.log("done");
  },
  (thrown: unknown) => {
    console.log(thrown);
  },
);
