import { LuksmithError } from "../../../src/error/luksmith-error.js";
import type { SettingsOf } from "../../../src/keystore/index.js";
import { keyUuidOf } from "../../../src/keystore/key-record.js";
import { KmipKeystore } from "../../../src/keystore/kmip/kmip-keystore.js";
import { replaceText, sampleRecord, storeText } from "../sample-key.js";

/** One operation in a process of its own: `store|update|replace|delete SETTINGS UUID`; prints `done` or the error's code. */
const [operation, settings = "", uuid = ""] = process.argv.slice(2);
const keystore = new KmipKeystore(JSON.parse(settings) as SettingsOf<"kmip">);
const record = sampleRecord({ uuid, state: operation === "update" ? "active" : "pending" });

async function perform(): Promise<void> {
  if (operation === "store") await storeText(keystore, record, `of ${uuid}`);
  else if (operation === "update") await keystore.update(record);
  else if (operation === "replace")
    await replaceText(keystore, { ...record, generation: 2 }, `new of ${uuid}`);
  else await keystore.delete(keyUuidOf(record));
}

perform().then(
  () => console.log("done"),
  (thrown: unknown) => console.log(thrown instanceof LuksmithError ? thrown.code : thrown),
);
