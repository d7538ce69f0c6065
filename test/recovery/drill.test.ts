import { rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { LuksmithError } from "../../src/error/luksmith-error.js";
import { Keyring } from "../../src/keystore/keyring.js";
import { drillDisk, type DrillPorts } from "../../src/recovery/drill-disk.js";
import { lastDrillOf, recordDrill } from "../../src/recovery/drill-record.js";
import { readIdentities } from "../../src/keystore/transfer/identities.js";
import type { RecoverableDisk } from "../../src/recovery/recoverable-disk.js";
import { RecoveryKeyslots } from "../../src/recovery/recovery-keyslots.js";
import { newPassphraseFor } from "../../src/recovery/recovery-passphrases.js";
import { Secret } from "../../src/secret/secret.js";
import { parseSettings } from "../../src/settings/load.js";
import { newKeyUuid } from "../../src/keystore/key-uuid.js";
import { type FileVolume, run, sha256 } from "../storage/workshop.js";
import { RecoveryLab } from "./recovery-lab.js";

describe("a drill", { timeout: 240_000 }, () => {
  let lab: RecoveryLab;
  let disk: RecoverableDisk & { readonly volume: FileVolume };
  let identity: ReturnType<RecoveryLab["identity"]>;

  beforeEach(async () => {
    lab = new RecoveryLab("raw");
    disk = await lab.disk();
    identity = lab.identity();
    const made = await newPassphraseFor([identity.recipient]);
    using passphrase = made.passphrase;
    await new RecoveryKeyslots(lab.ports).add(disk, { ...made, passphrase });
  });
  afterEach(() => {
    lab[Symbol.dispose]();
  });

  const directory = () => join(lab.workshop.root, "drills");

  async function drill(change: Partial<DrillPorts> = {}) {
    const settings = parseSettings('{"version":1}', "the defaults");
    using secret = readIdentities(identity.path);
    const ports = { ...lab.ports, settings, identity: secret, directory: directory(), ...change };
    const { result, checks } = await drillDisk(disk, ports);
    const remembered = result === "skipped" ? undefined : { at: lab.now, result };
    expect(lastDrillOf(disk.uuid, directory())).toEqual(remembered);
    return {
      checks,
      result,
      bad: checks.filter((check) => check.result !== "ok"),
      names: checks.map(({ name }) => name),
    };
  }

  it("passes where everything opens, and writes nothing to the volume", async () => {
    const [before, { mtimeNs }] = [sha256(disk.volume.path), statSync(disk.volume.path, { bigint: true })];
    run("mount", ["--bind", disk.volume.path, disk.volume.path]);
    try {
      run("mount", ["-o", "remount,bind,ro", disk.volume.path]);
      expect(await drill()).toMatchObject({
        result: "passed",
        bad: [],
        names: ["keystore", "passphrase", "header copy", "recovery", "escrow file", "keyslots"],
      });
    } finally {
      run("umount", [disk.volume.path]);
    }
    expect(sha256(disk.volume.path)).toBe(before);
    expect(statSync(disk.volume.path, { bigint: true }).mtimeNs).toBe(mtimeNs);
    expect(lab.audit.uses.at(-1)).toMatchObject({ event: "drill", result: "done", key: disk.uuid });
  });

  const error = new LuksmithError("KEYSTORE_UNAVAILABLE", { what: "the keystore does not answer" });
  const keyring = new Keyring([{ name: "local", make: () => Promise.reject(error) }]);

  it("fails where the keystore is away, and tells with what the disk opens all the same", async () => {
    const { result, bad, names, checks } = await drill({ keyring });
    expect(result).toBe("failed");
    expect(bad).toMatchObject([{ name: "keystore", result: "failed" }]);
    expect(names).toEqual(["keystore", "header copy", "escrow file", "recovery"]);
    const file = lab.files.path(disk.uuid, 7);
    const command = `luksmith recover ${disk.volume.path} --escrow ${file} --identity FILE --store KEYSTORE`;
    expect(checks.at(-1)).toMatchObject({ result: "ok", hint: command });
    expect(lab.audit.uses.at(-1)).toMatchObject({ event: "drill", result: "failed", code: "DRILL_FAILED" });
  });

  it("tells without a keystore of a header that is lost too, and of what nobody can open", async () => {
    const header = await lab.header(disk);
    const [copy] = lab.vault.backups(disk.uuid);
    await lab.workshop.backend.changeHeader(disk.volume, header.length, () =>
      Promise.resolve([{ offset: 0, bytes: Buffer.alloc(header.length) }]),
    );
    const lost = await drill({ keyring });
    expect(lost.bad).toMatchObject([{ name: "keystore" }, { name: "volume", result: "failed" }]);
    expect(lost.checks.at(-1)).toMatchObject({
      result: "ok",
      hint: expect.stringContaining(`--header ${copy!.path}`) as string,
    });

    rmSync(lab.files.path(disk.uuid, 7));
    const paper = await drill({ keyring });
    expect(paper.checks.at(-1)).toMatchObject({ name: "recovery", result: "warning" });
    await lab.vault.destroy(disk.uuid);
    expect((await drill({ keyring })).checks.at(-1)).toMatchObject({ name: "recovery", result: "failed" });
  });

  it("takes nothing that it did not try for good", async () => {
    const settings = parseSettings('{"version":1}', "the defaults");
    const { result, checks } = await drillDisk(disk, { ...lab.ports, settings, directory: directory() });
    expect(result).toBe("passed");
    expect(checks.filter((check) => check.result !== "ok")).toMatchObject([
      { name: "escrow file", result: "warning" },
    ]);
    expect(lab.audit.uses.at(-1)).toMatchObject({ result: "done", detail: "warnings: escrow file" });

    using printed = Secret.own(Buffer.from("on paper"));
    await new RecoveryKeyslots(lab.ports).add(disk, { passphrase: printed, holder: { kind: "passphrase" } });
    expect((await drill()).bad).toMatchObject([{ name: "recovery", result: "warning" }]);
  });

  it("does not try a disk that holds nothing yet", async () => {
    await lab.keystore.change(disk.uuid, (record) => ({ ...record, state: "pending" }));
    const before = lab.audit.uses.length;
    expect(await drill()).toMatchObject({ result: "skipped", bad: [{ name: "volume", result: "warning" }] });
    expect(lab.audit.uses).toHaveLength(before);
  });

  it("fails where the keystore's passphrase opens nothing", async () => {
    using other = Secret.randomPassphrase();
    await lab.keystore.replace({
      record: { ...(await lab.record(disk.uuid)), generation: 2 },
      passphrase: other,
    });
    const { result, bad } = await drill();
    expect(result).toBe("failed");
    expect(bad.map(({ name }) => name)).toContain("passphrase");
  });

  it("fails where the newest header copy is gone or differs", async () => {
    await lab.vault.destroy(disk.uuid);
    expect((await drill()).bad).toMatchObject([
      { name: "header copy", result: "failed", detail: "there is none" },
    ]);

    const old = await lab.header(disk);
    await lab.vault.keep({ uuid: disk.uuid, volume: disk.volume.path, header: old, reason: "asked" });
    expect((await drill()).bad).toEqual([]);
    await addUnknown();
    const { result, bad } = await drill();
    expect(result).toBe("failed");
    expect(bad).toMatchObject([{ name: "header copy" }, { name: "keyslots", result: "warning" }]);
  });

  it("fails where a recovery keyslot is gone, or its file holds another passphrase", async () => {
    const made = await newPassphraseFor([identity.recipient]);
    made.passphrase.dispose();
    if (made.holder.kind !== "recipients") throw new Error("a file was made");
    writeFileSync(lab.files.path(disk.uuid, 7), made.holder.file, { mode: 0o600 });
    expect((await drill()).bad).toMatchObject([{ name: "escrow file", result: "failed" }]);
    rmSync(lab.files.path(disk.uuid, 7));
    expect((await drill()).bad).toMatchObject([{ name: "escrow file", result: "warning" }]);

    const { passphrase } = await lab.key(disk.uuid);
    using own = passphrase;
    const header = await lab.header(disk);
    await lab.workshop.backend.changeHeader(disk.volume, header.length, async (now) => {
      return (await lab.keyslots.remove(now, { keyslot: 7, passphrase: own })).pieces;
    });
    const { result, bad } = await drill();
    expect(result).toBe("failed");
    expect(bad.map(({ name }) => name)).toEqual(["header copy", "recovery"]);
  });

  it("says which recovery the settings want", async () => {
    const { recipient } = lab.identity("another");
    const profile = { name: "default", recovery: [recipient] };
    const settings = parseSettings(JSON.stringify({ version: 1, profiles: [profile] }), "the test");
    expect((await drill({ settings })).bad).toMatchObject([
      { name: "recovery", detail: expect.stringContaining(`a keyslot for ${recipient}`) as string },
      // who has left
      { name: "recovery", detail: expect.stringContaining(identity.recipient) as string },
    ]);
  });

  /** A keyslot that no record knows, as somebody adds it with cryptsetup. */
  async function addUnknown(): Promise<void> {
    const { passphrase } = await lab.key(disk.uuid);
    using own = passphrase;
    using added = Secret.randomPassphrase();
    const header = await lab.header(disk);
    await lab.workshop.backend.changeHeader(disk.volume, header.length, async (now) => {
      return (await lab.keyslots.add(now, { passphrase: own, added, strength: "machine" })).pieces;
    });
  }
});

it("remembers the last drill of each key, and takes nothing damaged for one", () => {
  using lab = new RecoveryLab("raw");
  const directory = join(lab.workshop.root, "drills");
  const uuid = newKeyUuid();
  expect(lastDrillOf(uuid, directory)).toBeUndefined();
  recordDrill(uuid, { at: lab.now, result: "failed" }, directory);
  expect(lastDrillOf(uuid, directory)).toEqual({ at: lab.now, result: "failed" });
  for (const text of [
    "",
    "{",
    "[]",
    '{"at":"never","result":"passed"}',
    '{"at":"2026-01-01T00:00:00Z","result":"?"}',
  ]) {
    writeFileSync(join(directory, `${uuid}.json`), text, { mode: 0o600 });
    expect(lastDrillOf(uuid, directory)).toBeUndefined();
  }
});
