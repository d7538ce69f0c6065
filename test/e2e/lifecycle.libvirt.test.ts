import { describe, expect, it } from "vitest";
import { hostForThisFile } from "./support/each-test.js";
import { hashOf, luksUuidOf, opensWith } from "./support/volumes.js";

const host = hostForThisFile();

describe("a protected guest", () => {
  it("is formatted by its first start, and only given its passphrases by the second", async () => {
    const guest = await host().guest("web1", ["raw", "qcow2"]);
    await host().must("protect", "web1");
    const blocks = await host().blocks(guest);
    expect(Object.keys(blocks)).toEqual(["vda", "vdb"]);

    await host().start(guest);
    expect((await host().libvirt.secretsLeft()).sort()).toEqual(Object.values(blocks).sort());
    for (const { dev, path, format } of guest.disks) {
      expect(await luksUuidOf(path, format)).toBe(blocks[dev]);
      const { record, passphrase } = await host().key(blocks[dev]);
      using secret = passphrase;
      expect(record).toMatchObject({ state: "active", disk: dev, volume: path, guest: { id: guest.uuid } });
      expect(await opensWith(path, format, secret)).toBe(true);
    }
    await host().stop(guest);
    expect(await host().libvirt.secretsLeft()).toEqual([]);

    const hashes = await Promise.all(guest.disks.map(({ path }) => hashOf(path)));
    await host().start(guest);
    await host().stop(guest);
    expect(await Promise.all(guest.disks.map(({ path }) => hashOf(path)))).toEqual(hashes);
    expect((await host().log()).map(({ event, steps }) => [event, steps])).toEqual([
      [undefined, ["store-key", "store-key", "annotate"]],
      ["pre-start", ["format", "format", "activate-key", "activate-key", "provide-secrets"]],
      ["post-stop", ["withdraw-secrets"]],
      ["pre-start", ["provide-secrets"]],
      ["post-stop", ["withdraw-secrets"]],
    ]);
  });
});
