import { execa } from "execa";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { KmipKeystore } from "../../../src/keystore/kmip/kmip-keystore.js";
import { Secret } from "../../../src/secret/secret.js";
import { passphraseIn, sampleRecord } from "../sample-key.js";
import { kmipWorld } from "./kmip.fixture.js";

/** An object as Python's client sees it. */
interface SeenObject {
  readonly type: string;
  readonly state: string;
  readonly name: string;
  readonly group: string;
  readonly namespace: string;
  readonly data: string;
  /** Hexadecimal. */
  readonly value: string;
}

const world = kmipWorld();
const ORACLE = fileURLToPath(new URL("oracle.py", import.meta.url));
const OURS = Buffer.from(Array.from({ length: 256 }, (_, i) => 255 - i));
const THEIRS = Buffer.from("\0pässphräse \ud83d\udd11\n");

async function askOracle(question: {
  readonly version: string;
  readonly write: readonly Partial<SeenObject>[];
  readonly read: readonly string[];
}): Promise<SeenObject[][]> {
  const { port, authority } = world.server;
  const { certificateFile: certificate, keyFile: key } = world.owner;
  const input = JSON.stringify({
    host: "127.0.0.1",
    port,
    ca: authority.caFile,
    certificate,
    key,
    ...question,
  });
  const { stdout } = await execa("/usr/bin/python3", [ORACLE], { input });
  return JSON.parse(stdout) as SeenObject[][];
}

describe("KMIP: what PyKMIP's client and we store", () => {
  it.each([
    ["1.1", "secret-data", "SECRET_DATA"],
    ["1.4", "secret-data", "SECRET_DATA"],
    ["1.4", "symmetric-key", "SYMMETRIC_KEY"],
    ["2.0", "secret-data", "SECRET_DATA"],
    ["2.0", "symmetric-key", "SYMMETRIC_KEY"],
  ] as const)("is the same for both, in version %s as %s", async (version, object, type) => {
    const settings = world.settings({ version, object });
    const { group } = settings;
    const keystore = new KmipKeystore(settings);
    const ours = sampleRecord({ guest: { id: "7", name: "Gästin \ud800 🔑" }, state: "active" });
    const theirs = sampleRecord();
    using passphrase = Secret.own(Buffer.from(OURS));
    await keystore.store({ record: ours, passphrase });

    const [seen] = await askOracle({
      version,
      read: [`${group}/${ours.uuid}`],
      write: [
        {
          type,
          group,
          name: `${group}/${theirs.uuid}`,
          namespace: "luksmith",
          data: JSON.stringify({ version: 1, writer: "python", record: theirs }),
          value: THEIRS.toString("hex"),
        },
      ],
    });
    expect(seen).toEqual([
      {
        type,
        state: "ACTIVE",
        name: `${group}/${ours.uuid}`,
        group,
        namespace: "luksmith",
        data: expect.stringMatching(/^[\x20-\x7e]+$/) as string,
        value: OURS.toString("hex"),
      },
    ]);
    expect(JSON.parse(seen![0]!.data)).toMatchObject({ version: 1, record: ours });

    expect(await passphraseIn(keystore, theirs)).toEqual(THEIRS);
    expect(await keystore.list()).toEqual(expect.arrayContaining([ours, theirs]));
    await keystore.update({ ...theirs, state: "active" });
    expect((await keystore.list()).map(({ state }) => state)).toEqual(["active", "active"]);
  });
});
