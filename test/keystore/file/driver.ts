import { LuksmithError } from "../../../src/error/luksmith-error.js";
import { untilTraced } from "../../fs/until-traced.js";
import { replaceText, sampleRecord, storeText } from "../sample-key.js";
import { fileKeystore } from "./file-keystore.fixture.js";

/** One operation in a process of its own: `store|activate|replace DIRECTORY UUID PASSPHRASE`; prints `done` or the error's code. */
const [operation, directory = "", uuid = "", passphrase = ""] = process.argv.slice(2);
const keystore = fileKeystore(directory);

async function perform(): Promise<void> {
  if (operation === "store") await storeText(keystore, sampleRecord({ uuid }), passphrase);
  else if (operation === "replace")
    await replaceText(keystore, sampleRecord({ uuid, state: "active", generation: 2 }), `new ${passphrase}`);
  else await keystore.update(sampleRecord({ uuid, state: "active" }));
}

untilTraced();
perform().then(
  () => console.log("done"),
  (thrown: unknown) => console.log(thrown instanceof LuksmithError ? thrown.code : thrown),
);
