import { keyUuidOf } from "../../../src/keystore/key-record.js";
import { replaceText, sampleRecord, storeText } from "../sample-key.js";
import { barbicanKeystore } from "./barbican-fixture.js";

/** One operation in a process of its own: `store|activate|replace|delete URL PROJECT UUID PASSPHRASE`. */
const [operation, url = "", projectId = "", uuid = "", passphrase = ""] = process.argv.slice(2);
const keystore = barbicanKeystore({ url, projectId });
const record = sampleRecord({ uuid });

async function perform(): Promise<void> {
  if (operation === "store") await storeText(keystore, record, passphrase);
  else if (operation === "activate") await keystore.update({ ...record, state: "active" });
  else if (operation === "replace")
    await replaceText(keystore, { ...record, generation: 2 }, `new ${passphrase}`);
  else await keystore.delete(keyUuidOf(record));
}

perform().then(
  () => console.log("done"),
  (thrown: unknown) => console.log(thrown),
);
