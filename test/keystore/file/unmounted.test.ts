import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { ExecaCommandRunner } from "../../../src/exec/command-runner.js";
import { KeystoreCare } from "../../../src/keystore/file/care.js";
import { FileKeystore } from "../../../src/keystore/file/file-keystore.js";
import { statusOf } from "../../../src/keystore/file/status.js";
import { keyUuidOf } from "../../../src/keystore/key-record.js";
import { Secret } from "../../../src/secret/secret.js";
import { temporaryDirectory, treeOf } from "../../fs/tree.js";
import { passphraseIn, sampleRecord, storeText } from "../sample-key.js";

const runner = new ExecaCommandRunner();

function prepare() {
  const mountPoint = join(temporaryDirectory(), "mnt");
  mkdirSync(mountPoint);
  const tables = temporaryDirectory();
  const mounts = { fstab: join(tables, "fstab"), mountinfo: join(tables, "mountinfo") };
  writeFileSync(mounts.fstab, `/dev/mapper/keys ${mountPoint} ext4 defaults 0 2\n`);
  const mount = () =>
    writeFileSync(mounts.mountinfo, `40 1 253:0 / ${mountPoint} rw shared:1 - ext4 /dev/mapper/keys rw\n`);
  writeFileSync(mounts.mountinfo, "");
  const place = { name: "local", type: "file" as const, directory: join(mountPoint, "keystore") };
  const keystore = new FileKeystore(place, runner, mounts);
  const care = new KeystoreCare(place, runner, join(tables, "lock"), mounts);
  return { mountPoint, mount, mounts, place, keystore, care };
}

describe("file keystore: a file system that is not mounted", () => {
  it("is said by every method, and nothing is made below the mount point", async () => {
    const { mountPoint, mounts, place, keystore, care } = prepare();
    const record = sampleRecord();
    const never = () => Promise.reject(new Error("shown"));
    const methods: Record<string, () => Promise<unknown>> = {
      store: () => storeText(keystore, record, "passphrase"),
      fetch: () => keystore.fetch(keyUuidOf(record)),
      update: () => keystore.update(record),
      find: () => keystore.find({}),
      list: () => keystore.list(),
      delete: () => keystore.delete(keyUuidOf(record)),
      test: () => keystore.test(),
      reprotect: () => care.reprotect("apply"),
      create: () => care.createRecovery({ manner: "apply", existing: "replace" }, never),
      remove: () => care.removeRecovery("apply"),
      restore: () => care.restore(Secret.own(Buffer.alloc(20)), "apply"),
      status: () => statusOf(place, runner, mounts),
    };
    for (const [name, method] of Object.entries(methods)) {
      await expect(method(), name).rejects.toMatchObject({
        code: "KEYSTORE_UNAVAILABLE",
        why: expect.stringContaining("its file system is not mounted") as string,
      });
    }
    expect(treeOf(mountPoint)).toEqual({});
  });

  it("serves once it is mounted, the same instance as well", async () => {
    const { mount, keystore } = prepare();
    const record = sampleRecord();
    await expect(keystore.list()).rejects.toMatchObject({ code: "KEYSTORE_UNAVAILABLE" });
    mount();
    await storeText(keystore, record, "passphrase");
    expect(await passphraseIn(keystore, record)).toEqual(Buffer.from("passphrase"));
  });
});
