import { describe, expect, it } from "vitest";
import { keyUuidOf } from "../../../src/keystore/key-record.js";
import { Secret } from "../../../src/secret/secret.js";
import { keystoreContract } from "../../contract/keystore.contract.js";
import { passphraseIn, sampleRecord } from "../sample-key.js";
import { kmipWorld } from "./kmip.fixture.js";

const world = kmipWorld();
const EVERY_BYTE = Buffer.from(Array.from({ length: 256 }, (_, i) => i));

for (const object of ["secret-data", "symmetric-key"] as const) {
  keystoreContract(`KMIP keystore of ${object}`, () => world.fixture({ object }));
}

describe.each(["1.1", "1.2", "1.3", "2.0"] as const)("KMIP keystore, version %s", (version) => {
  it.each(["secret-data", "symmetric-key"] as const)("does everything with %s", async (object) => {
    await using fixture = await world.fixture({ version, object });
    const { keystore } = fixture;
    const record = sampleRecord({ guest: { id: "7", name: 'Gästin "web" 🔑 \ud800' } });
    using passphrase = Secret.own(Buffer.from(EVERY_BYTE));
    await keystore.store({ record, passphrase });
    await expect(fixture.another().store({ record, passphrase })).rejects.toMatchObject({
      code: "KEY_EXISTS",
    });
    expect(await passphraseIn(fixture.another(), record)).toEqual(EVERY_BYTE);

    const changed = { ...record, state: "active" as const, disk: "vdb" };
    await keystore.update(changed);
    await keystore.update(changed);
    expect(await fixture.another().list()).toEqual([changed]);
    expect(await passphraseIn(keystore, record)).toEqual(EVERY_BYTE);

    await keystore.delete(keyUuidOf(record));
    expect(await keystore.fetch(keyUuidOf(record))).toBeUndefined();
    await expect(keystore.update(changed)).rejects.toMatchObject({ code: "KEY_NOT_FOUND" });
  });

  it("lets one of several concurrent updates hold, whole", async () => {
    await using fixture = await world.fixture({ version });
    const record = sampleRecord();
    using passphrase = Secret.own(Buffer.from("stays"));
    await fixture.keystore.store({ record, passphrase });
    const changes = ["vdb", "vdc", "vdd"].map((disk) => ({ ...record, disk }));
    await Promise.allSettled(changes.map((changed) => fixture.another().update(changed)));
    const [kept, ...more] = await fixture.keystore.list();
    expect(more).toEqual([]);
    expect(changes).toContainEqual(kept);
    expect(await passphraseIn(fixture.keystore, record)).toEqual(Buffer.from("stays"));
  });
});
