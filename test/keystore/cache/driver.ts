import { FileKeyCache } from "../../../src/keystore/cache/file-key-cache.js";
import { Secret } from "../../../src/secret/secret.js";
import { parseSettings } from "../../../src/settings/load.js";
import { untilTraced } from "../../fs/until-traced.js";
import { sampleRecord } from "../sample-key.js";

/** One copy in a process of its own: `DIRECTORY UUID PASSPHRASE`; prints `done`, or the cache's warnings. */
const [directory = "", uuid = "", text = ""] = process.argv.slice(2);
const settings = parseSettings('{"version":1,"profiles":[{"name":"default","cache":"sealed"}]}', "the test");
const warnings: string[] = [];
const cache = new FileKeyCache({
  settings: { ...settings, keystores: [{ name: "vault1", type: "vault" }] },
  places: [{ medium: "sealed", path: directory, base: "/" }],
  manner: "renew",
  warn: (message) => warnings.push(message),
});

untilTraced();
const passphrase = Secret.own(Buffer.from(text));
const key = { record: sampleRecord({ uuid, state: "active" }), passphrase };
const copied = cache.gaveOut("vault1", key).then(() => cache.settled());
copied.then(
  () => console.log(warnings.join("\n") || "done"),
  (thrown: unknown) => console.log("threw", thrown),
);
