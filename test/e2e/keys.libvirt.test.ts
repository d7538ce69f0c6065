import { Ajv } from "ajv";
import { execa } from "execa";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { chmod, rename, rm, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import type { KeyUuid } from "../../src/keystore/key-uuid.js";
import type { Key, KeyDeleter, Keystore } from "../../src/keystore/keystore.js";
import { isThrowAway } from "../../src/keystore/round-trip.js";
import { sampleRecord, storeText } from "../keystore/sample-key.js";
import { fileKeystore } from "../keystore/transfer/two-keystores.js";
import { hostForThisFile } from "./support/each-test.js";
import type { TestGuest } from "./support/guests.js";
import { keepWorld, sweep } from "./support/kill-sweep.js";
import { makeVolume, opensWith } from "./support/volumes.js";

const host = hostForThisFile();

const ajv = new Ajv({ discriminator: true, strictRequired: false });
for (const path of readdirSync("schemas", { recursive: true, encoding: "utf8" })) {
  if (path.endsWith(".schema.json"))
    ajv.addSchema(JSON.parse(readFileSync(join("schemas", path), "utf8")) as object);
}

function valid(schema: string, text: string): Record<string, unknown> {
  const json = JSON.parse(text) as Record<string, unknown>;
  ajv.validate(`${schema}.schema.json`, json);
  expect(ajv.errors ?? []).toEqual([]);
  return json;
}

const B = "/var/lib/luksmith/keystore-b";

/** Keystores `a`, where new keys go, and `b`. */
async function twoKeystores(): Promise<{ a: Keystore & KeyDeleter; b: Keystore & KeyDeleter }> {
  await host().settings({
    version: 1,
    keystores: [
      { name: "a", type: "file" },
      { name: "b", type: "file", directory: B },
    ],
  });
  const [a, b] = [host().keystoreDirectory, host().inside(B)];
  return { a: await fileKeystore("a", a), b: await fileKeystore("b", b) };
}

async function protectedGuest(name: string, ...formats: ("raw" | "qcow2")[]): Promise<TestGuest> {
  const guest = await host().guest(name, formats);
  await host().must("protect", name, "--now");
  return guest;
}

async function keyOf(guest: TestGuest, dev = "vda"): Promise<KeyUuid> {
  return (await host().blocks(guest))[dev]!;
}

/** Runs `work` with the key, whose passphrase is wiped afterwards. */
async function withKey<T>(keystore: Keystore, uuid: KeyUuid, work: (key: Key) => Promise<T>): Promise<T> {
  const key = await keystore.fetch(uuid);
  if (key === undefined) throw new Error(`keystore ${keystore.name} has no key ${uuid}`);
  using passphrase = key.passphrase;
  return await work({ ...key, passphrase });
}

const opens = (keystore: Keystore, uuid: KeyUuid, { path, format }: TestGuest["disks"][number]) =>
  withKey(keystore, uuid, ({ passphrase }) => opensWith(path, format, passphrase));

const uuidsIn = async (keystore: Keystore) =>
  (await keystore.find({}))
    .filter((record) => !isThrowAway(record))
    .map(({ uuid }) => uuid)
    .sort();

describe("keys migrate", () => {
  it("moves the keys of a running guest, which starts again from the other keystore", async () => {
    const { a, b } = await twoKeystores();
    const guest = await protectedGuest("web1", "raw", "qcow2");
    await host().start(guest);
    const uuids = Object.values(await host().blocks(guest)).sort();

    const dry = await host().must("keys", "migrate", "--from", "a", "--to", "b", "--dry-run");
    expect(dry.match(/^would be moved: /gm)).toHaveLength(2);
    expect([await uuidsIn(a), existsSync(host().inside(B))]).toEqual([uuids, false]);

    const said = await host().must("keys", "migrate", "--from", "a", "--to", "b");
    expect(said).toMatch(/^moved: [0-9a-f-]{36} \(vd[ab] of web1\)$/m);
    expect(said).toMatch(/^from a to b: 2 moved$/m);
    expect(said).toMatch(
      /^hint: new keys of profile default are still stored in a: set their keystore to b/m,
    );
    expect([await uuidsIn(a), await uuidsIn(b)]).toEqual([[], uuids]);
    expect(await host().isRunning(guest)).toBe(true);
    for (const disk of guest.disks) expect(await opens(b, await keyOf(guest, disk.dev), disk)).toBe(true);

    await host().stop(guest);
    await rename(host().keystoreDirectory, `${host().keystoreDirectory}.away`);
    await host().start(guest);
    expect(await host().isRunning(guest)).toBe(true);
    expect((await host().log()).filter(({ message }) => message.startsWith("key moved"))).toHaveLength(2);
  });

  it("moves those of one guest, and tells a program what became of each", async () => {
    const { a, b } = await twoKeystores();
    const [one, two] = [await protectedGuest("web1", "raw"), await protectedGuest("web2", "raw")];
    const { stdout } = await host().luksmith(
      "keys",
      "migrate",
      "--from",
      "a",
      "--to",
      "b",
      "--guest",
      "web1",
      "--json",
    );
    expect(valid("keys-migrate", stdout)).toMatchObject({
      ...{ from: "a", to: "b", dryRun: false, profiles: ["default"] },
      keys: [{ uuid: await keyOf(one), disk: "vda", guest: { name: "web1" }, outcome: "moved" }],
    });
    expect([await uuidsIn(a), await uuidsIn(b)]).toEqual([[await keyOf(two)], [await keyOf(one)]]);
    expect(
      await host().luksmith("keys", "migrate", "--from", "a", "--to", "b", "--guest", "nobody"),
    ).toMatchObject({
      exitCode: 4,
      stderr: expect.stringContaining('there are no keys of guest "nobody"') as string,
    });
    expect(await host().luksmith("keys", "migrate", "--from", "a", "--to", "a")).toMatchObject({
      exitCode: 2,
    });
    expect(await host().luksmith("keys", "migrate", "--from", "a", "--to", "c")).toMatchObject({
      exitCode: 6,
    });
  });

  it("shows at a terminal how far it is, in one line", async () => {
    const { b } = await twoKeystores();
    await protectedGuest("web1", "raw", "qcow2");
    const line = host()
      .command("keys", "migrate", "--from", "a", "--to", "b")
      .map((word) => `'${word}'`);
    const { exitCode, stdout } = await host().libvirt.exec(["script", "-qec", line.join(" "), "/dev/null"]);
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(/moving keys: 0 of 2.*moving keys: 2 of 2.*from a to b: 2 moved/s);
    expect(stdout).not.toMatch(/^moved: /m);
    expect(await uuidsIn(b)).toHaveLength(2);
  });

  it("fails for a key that both have with different passphrases, and moves the others", async () => {
    const { a, b } = await twoKeystores();
    const guest = await protectedGuest("web1", "raw", "qcow2");
    const uuid = await keyOf(guest);
    const record = (await a.find({})).find((candidate) => candidate.uuid === uuid)!;
    const { Secret } = await import("../../src/secret/secret.js");
    using passphrase = Secret.own(Buffer.from("of somebody else"));
    await b.store({ record, passphrase });
    const { exitCode, stdout, stderr } = await host().luksmith("keys", "migrate", "--from", "a", "--to", "b");
    expect(exitCode).toBe(3);
    expect(stdout).toMatch(/^from a to b: 1 \w+, 1 \w+$/m);
    expect(stderr).toMatch(
      /^error: cannot move key .*\ncause: .* different passphrases .*\nhint: nothing was changed/m,
    );
    expect((await host().log()).filter(({ code }) => code === "KEY_CONFLICT")).toHaveLength(1);
    expect(await opens(a, uuid, guest.disks[0]!)).toBe(true);
    expect(await uuidsIn(a)).toEqual([uuid]);
    await host().start(guest);
  });

  it(
    "can be killed at any call: no key is lost, and the next one finishes",
    { timeout: 240_000 },
    async () => {
      const { a, b } = await twoKeystores();
      const guests = [await protectedGuest("web1", "raw", "qcow2"), await protectedGuest("web2", "raw")];
      const uuids = await uuidsIn(a);
      const expected = new Map<string, Buffer>();
      for (const uuid of uuids) {
        const bytes = await withKey(a, uuid as KeyUuid, ({ passphrase }) =>
          Promise.resolve(passphrase.use((p) => Buffer.from(p))),
        );
        expected.set(uuid, bytes);
      }
      const reset = await keepWorld(host());
      const process = { argv: host().command("keys", "migrate", "--from", "a", "--to", "b") };
      await sweep({
        ...{ host: host(), guest: guests[0]!, process, kills: 24, reset },
        afterKill: async (when) => {
          for (const uuid of uuids as KeyUuid[]) {
            const copies: string[] = [];
            for (const keystore of [a, b]) {
              const key = await keystore.fetch(uuid);
              using passphrase = key?.passphrase;
              if (passphrase?.use((bytes) => bytes.equals(expected.get(uuid)!))) copies.push(keystore.name);
              else expect(key, when).toBeUndefined();
            }
            expect(copies, when).not.toEqual([]);
          }
        },
        goOn: async (when) => {
          const { exitCode, stderr } = await host().libvirt.exec(process.argv);
          expect({ exitCode, stderr }, when).toEqual({ exitCode: 0, stderr: "" });
          expect([await uuidsIn(a), await uuidsIn(b)], when).toEqual([[], uuids]);
        },
      });
      for (const guest of guests) await host().start(guest);
    },
  );
});

describe("keys delete", () => {
  const remove = (...options: string[]) => host().luksmith("keys", "delete", ...options);
  const refused = (code: number, text: RegExp) => ({
    exitCode: code,
    stderr: expect.stringMatching(text) as string,
  });

  it("refuses a key while a guest or a volume needs it, and while nobody can tell", async () => {
    const { a } = await twoKeystores();
    const guest = await protectedGuest("web1", "raw");
    const { path } = guest.disks[0]!;
    const uuid = await keyOf(guest);
    const all = [uuid, "--yes", "--volume-is-gone"];
    const inConfiguration = (kind: string) =>
      refused(
        3,
        new RegExp(`disk vda of guest web1 uses it\ncause: it is in the guest's ${kind} configuration`),
      );

    expect(await remove(...all)).toMatchObject(inConfiguration("persistent"));
    await host().start(guest);
    await host().libvirt.virsh("undefine", guest.uuid);
    // now it is transient: all there is of it is what runs
    expect(await remove(...all)).toMatchObject(inConfiguration("running"));
    await host().stop(guest);
    expect(await remove(...all)).toMatchObject(
      refused(3, /is encrypted under it\ncause: its LUKS header has the key's UUID/),
    );

    await execa("cryptsetup", ["luksUUID", "-q", "--uuid", "0a1b2c3d-0000-4000-8000-000000000009", path]);
    expect(await remove(...all)).toMatchObject(refused(3, /cause: the passphrase opens it/));

    await rename(path, `${path}.away`);
    expect(await remove(uuid, "--yes")).toMatchObject(
      refused(4, /is not there\ncause: .*not be mounted.*\nhint: .*--volume-is-gone/),
    );
    await host().libvirt.stopDaemon();
    expect(await remove(...all)).toMatchObject({ exitCode: 4 });
    await host().libvirt.startDaemon();
    expect(await remove(uuid, "--volume-is-gone")).toMatchObject(refused(2, /hint: say --yes/));
    expect(await uuidsIn(a)).toEqual([uuid]);

    const dry = await host().must("keys", "delete", uuid, "--volume-is-gone", "--dry-run");
    expect(dry).toMatch(/^would delete key .* from keystore a$/m);
    expect(await uuidsIn(a)).toEqual([uuid]);
    const said = await host().must("keys", "delete", ...all);
    expect(said).toMatch(/^without it nobody can read/m);
    expect(said).toMatch(/^deleted key .* from keystore a$/m);
    expect(await uuidsIn(a)).toEqual([]);
    expect(await remove(...all)).toMatchObject(refused(4, /no keystore has it/));
  });

  it("takes a key whose volume was wiped or is another one's, from every keystore", async () => {
    const { a, b } = await twoKeystores();
    const guest = await protectedGuest("web1", "raw", "qcow2");
    const uuids = Object.values(await host().blocks(guest));
    await host().libvirt.virsh("undefine", guest.uuid);
    for (const uuid of uuids) await withKey(a, uuid, (key) => b.store(key));
    await truncate(guest.disks[0]!.path, 0);
    await makeVolume(guest.disks[1]!.path, "qcow2");
    for (const uuid of uuids) {
      expect(await host().must("keys", "delete", uuid, "--yes")).toMatch(/from keystore a and keystore b$/m);
    }
    expect([await uuidsIn(a), await uuidsIn(b)]).toEqual([[], []]);
  });

  it("refuses the key of a volume whose header was overwritten, until it is said that nobody needs it", async () => {
    const { a } = await twoKeystores();
    const guest = await protectedGuest("web1", "raw");
    const uuid = await keyOf(guest);
    await host().libvirt.virsh("undefine", guest.uuid);
    const { path } = guest.disks[0]!;
    await execa("dd", ["if=/dev/urandom", `of=${path}`, "bs=1M", "count=3", "conv=notrunc", "status=none"]);
    expect(await remove(uuid, "--yes")).toMatchObject(
      refused(4, /cause: it holds data without a LUKS header.*\nhint: .*--volume-is-gone/),
    );
    expect(await uuidsIn(a)).toEqual([uuid]);
    expect(await remove(uuid, "--yes", "--volume-is-gone")).toMatchObject({ exitCode: 0 });
    expect(await uuidsIn(a)).toEqual([]);
  });

  it("refuses the key of a base that another guest's overlay lies over", async () => {
    await twoKeystores();
    const base = await protectedGuest("base", "raw");
    const uuid = await keyOf(base);
    const { path } = base.disks[0]!;
    await host().libvirt.virsh("undefine", base.uuid);
    const overlay = host().newPath("qcow2");
    await makeVolume(overlay, "qcow2", "-F", "raw", "-b", path, "-u");
    const over = { format: "raw" as const, path, secretUuid: uuid };
    await host().define({
      name: "clone",
      disks: [{ dev: "vda", path: overlay, format: "qcow2", base: over }],
    });
    await rm(path);
    expect(await remove(uuid, "--yes", "--volume-is-gone")).toMatchObject(
      refused(3, /disk vda of guest clone uses it/),
    );
  });

  it("refuses while one of the keystores cannot be asked", async () => {
    const { a } = await twoKeystores();
    const guest = await protectedGuest("web1", "raw");
    const uuid = await keyOf(guest);
    await host().libvirt.virsh("undefine", guest.uuid);
    await rm(guest.disks[0]!.path);
    await host().libvirt.exec(["mkdir", "-m", "0755", B]);
    expect(await remove(uuid, "--yes", "--volume-is-gone")).toMatchObject(
      refused(6, /^error: cannot delete key/),
    );
    expect(await uuidsIn(a)).toEqual([uuid]);
  });

  it("asks at a terminal for the guest's name", async () => {
    const { a } = await twoKeystores();
    const guest = await protectedGuest("web1", "raw");
    const uuid = await keyOf(guest);
    await host().libvirt.virsh("undefine", guest.uuid);
    await rm(guest.disks[0]!.path);
    const line = host()
      .command("keys", "delete", uuid, "--volume-is-gone")
      .map((word) => `'${word}'`);
    const type = (input: string) =>
      host().libvirt.exec(["script", "-qec", line.join(" "), "/dev/null"], { input });
    expect(await type("web2\n")).toMatchObject({
      exitCode: 3,
      stdout: expect.stringContaining("Type web1") as string,
    });
    expect(await uuidsIn(a)).toEqual([uuid]);
    expect(await type("web1\n")).toMatchObject({ exitCode: 0 });
    expect(await uuidsIn(a)).toEqual([]);
  });
});

/** A key pair of age outside of what the test looks through for passphrases. */
async function keyPair(): Promise<{ path: string; recipient: string }> {
  const path = host().inside("/run/identity");
  await rm(path, { force: true });
  await execa("age-keygen", ["-o", path]);
  return { path: "/run/identity", recipient: /age1[0-9a-z]+/.exec(readFileSync(path, "utf8"))![0] };
}

describe("keys export and import", () => {
  const OUTPUT = "/run/escrow.age";
  afterEach(() => rm(host().inside(OUTPUT), { force: true }));

  it("bring a guest back whose keystore was lost; until then, its volume is opened by hand", async () => {
    const { a } = await twoKeystores();
    const guest = await protectedGuest("web1", "raw", "qcow2");
    const blocks = await host().blocks(guest);
    const { path: identity, recipient } = await keyPair();
    const said = await host().must("keys", "export", "--recipient", recipient, "--output", OUTPUT);
    expect(said).toBe(`exported 2 keys for 1 recipient: ${OUTPUT}\n`);
    expect(statSync(host().inside(OUTPUT)).mode & 0o777).toBe(0o600);
    const passphrase = await withKey(a, blocks["vda"]!, (key) => Promise.resolve(key.passphrase.use(String)));
    expect(readFileSync(host().inside(OUTPUT)).includes(passphrase)).toBe(false);

    await rm(host().keystoreDirectory, { recursive: true });
    await expect(host().start(guest)).rejects.toThrow("Secret not found");

    // as docs/keys.md shows it
    const byHand = (dev: string, command: string) => {
      const passphrase = `age -d -i ${identity} ${OUTPUT} | jq -j --arg uuid ${blocks[dev] ?? ""} '${PASSPHRASE}'`;
      return host().libvirt.exec(["sh", "-c", `${passphrase} | ${command}`]);
    };
    const [raw, qcow2] = [guest.disks[0]!.path, guest.disks[1]!.path];
    expect(await byHand("vda", `cryptsetup open --test-passphrase --key-file=- ${raw}`)).toMatchObject({
      ...{ exitCode: 0, stderr: "" },
    });
    const image = `driver=qcow2,encrypt.key-secret=s,file.filename=${qcow2}`;
    const convert = `qemu-img convert --object secret,id=s,file=/dev/stdin --image-opts -O raw ${image} /run/vdb.img`;
    expect(await byHand("vdb", convert)).toMatchObject({ exitCode: 0, stderr: "" });

    const bring = (...more: string[]) =>
      host().libvirt.exec(host().command("keys", "import", "--identity", identity, "--to", "a", ...more), {
        input: readFileSync(host().inside(OUTPUT)),
      });
    const dry = await bring("--dry-run");
    expect(dry.stdout.match(/^would be stored: /gm)).toHaveLength(2);
    expect(existsSync(host().keystoreDirectory)).toBe(false);
    expect((await bring()).stdout.match(/^stored: /gm)).toHaveLength(2);
    expect(await bring()).toMatchObject({
      exitCode: 0,
      stdout: expect.stringMatching(/^(present: .*\n){2}$/) as string,
    });
    await host().start(guest);
    expect(await host().isRunning(guest)).toBe(true);
  });

  it("export writes chosen keys, as text if it is asked, and never over a file or to a terminal", async () => {
    await twoKeystores();
    const [one, two] = [await protectedGuest("web1", "raw"), await protectedGuest("web2", "raw")];
    const { path: identity, recipient } = await keyPair();
    const exported = async (...args: string[]) => {
      const { exitCode, stdout } = await host().luksmith(
        "keys",
        "export",
        "--recipient",
        recipient,
        "--armor",
        ...args,
      );
      expect(exitCode).toBe(0);
      expect(stdout).toMatch(/^-----BEGIN AGE ENCRYPTED FILE-----\n/);
      const plain = await host().libvirt.exec(["age", "-d", "-i", identity], { input: stdout });
      const { keys } = valid("key-escrow", plain.stdout) as { keys: { record: { uuid: string } }[] };
      return keys.map(({ record }) => record.uuid);
    };
    expect(await exported()).toEqual([await keyOf(one), await keyOf(two)]);
    expect(await exported("--guest", "web2")).toEqual([await keyOf(two)]);
    expect(await exported(await keyOf(one))).toEqual([await keyOf(one)]);
    expect(await exported(await keyOf(one), "--guest", two.uuid)).toHaveLength(2);

    await writeFile(host().inside(OUTPUT), "precious");
    const attempt = (...args: string[]) =>
      host().luksmith("keys", "export", "--recipient", recipient, ...args);
    expect(await attempt("--output", OUTPUT)).toMatchObject({ exitCode: 3 });
    expect(readFileSync(host().inside(OUTPUT), "utf8")).toBe("precious");
    expect(await attempt("--output", "/run/nowhere/x")).toMatchObject({ exitCode: 1 });
    expect(await attempt("--from", "b")).toMatchObject({ exitCode: 4, stdout: "" });
    expect(await attempt("0a1b2c3d-0000-4000-8000-000000000009")).toMatchObject({ exitCode: 4, stdout: "" });
    expect(await host().luksmith("keys", "export", "--recipient", "age1nobody")).toMatchObject({
      exitCode: 2,
    });
    expect(await host().luksmith("keys", "export")).toMatchObject({ exitCode: 2 });
    const line = host()
      .command("keys", "export", "--recipient", recipient)
      .map((word) => `'${word}'`);
    const terminal = await host().libvirt.exec(["script", "-qec", line.join(" "), "/dev/null"]);
    expect(terminal).toMatchObject({
      exitCode: 2,
      stdout: expect.stringContaining("not written to a terminal") as string,
    });
  });

  it("export fails if standard output does not take all of it", async () => {
    const { a } = await twoKeystores();
    for (let count = 0; count < 30; count++) await storeText(a, sampleRecord(), `passphrase ${count}`);
    const { recipient } = await keyPair();
    const shell = (script: string) =>
      host().libvirt.exec([
        ...["sh", "-c", script, "sh"],
        ...host().command("keys", "export", "--recipient", recipient),
      ]);
    const small = "mkdir /run/small && mount -t tmpfs -o size=8k small /run/small || exit 99";
    const full = await shell(`${small}; "$@" > /run/small/x; code=$?; umount /run/small; exit $code`);
    expect(full).toMatchObject({
      exitCode: 1,
      stderr: expect.stringMatching(/^error: cannot write standard output\ncause: no space left/) as string,
    });
    const closed = await shell(`{ "$@"; echo "exit code $?" >&2; } | true`);
    expect(closed.stderr).toMatch(/cannot write standard output\ncause: broken pipe[^]*^exit code 1$/m);
    expect((await host().log()).filter(({ message }) => message.startsWith("keys export done"))).toEqual([]);
    expect(await shell(`"$@" | wc -c`)).toMatchObject({ exitCode: 0, stderr: "" });
  });

  it("import stores nothing from a bad file or with a wrong identity", async () => {
    const { a, b } = await twoKeystores();
    await protectedGuest("web1", "raw");
    const { path: identity, recipient } = await keyPair();
    await host().must("keys", "export", "--recipient", recipient, "--output", OUTPUT);
    const file = readFileSync(host().inside(OUTPUT));
    const bring = (input: Buffer | string, from = identity) =>
      host().libvirt.exec(host().command("keys", "import", "--identity", from, "--to", "b"), { input });
    expect(await bring(file.subarray(0, -1))).toMatchObject({ exitCode: 5, stdout: "" });
    expect(await bring("")).toMatchObject({ exitCode: 2, stdout: "" });
    expect(await bring("{}")).toMatchObject({ exitCode: 5, stdout: "" });
    expect(await bring(file, "/run/nowhere")).toMatchObject({ exitCode: 6, stdout: "" });
    await chmod(host().inside(identity), 0o644);
    expect(await bring(file)).toMatchObject({
      exitCode: 6,
      stderr: expect.stringContaining("chmod 0600") as string,
    });
    await keyPair();
    expect(await bring(file)).toMatchObject({
      exitCode: 6,
      stderr: expect.stringContaining("cannot decrypt") as string,
    });
    expect(await b.find({})).toEqual([]);
    expect(await a.find({})).toHaveLength(1);
  });
});

describe("a keystore that is down", () => {
  it("hides no other one's keys from keys list and keys show", async () => {
    await twoKeystores();
    const guest = await protectedGuest("web1", "raw");
    const uuid = await keyOf(guest);
    await host().libvirt.exec(["mkdir", "-m", "0755", B]);
    const text = await host().luksmith("keys", "list");
    expect(text).toMatchObject({
      exitCode: 6,
      stderr: expect.stringMatching(/^error: cannot ask keystore b: /) as string,
    });
    expect(text.stdout).toContain(uuid);
    const { exitCode, stdout } = await host().luksmith("keys", "list", "--json");
    expect(exitCode).toBe(6);
    expect(valid("keys", stdout)).toMatchObject({
      keys: [{ uuid }],
      unavailable: [{ keystore: "b", problem: { code: "PERMISSIONS_UNSAFE" } }],
    });
    const show = await host().luksmith("keys", "show", uuid, "--json");
    expect(valid("keys-show", show.stdout)).toMatchObject({ uuid, agree: true, copies: [{ keystore: "a" }] });
    expect(show.exitCode).toBe(6);
  });

  it("is told apart by settings test, which says what it has found to work", async () => {
    await twoKeystores();
    await host().libvirt.exec(["mkdir", "-m", "0755", B]);
    const both = await host().luksmith("settings", "test");
    expect(both.exitCode).toBe(1);
    expect(both.stdout).toMatch(/^ok: keystore a \(file\): reached, round trip in \d+\.\d\d s$/m);
    expect(both.stdout).toMatch(
      /^failed: keystore b \(file\) after \d+\.\d\d s: .*\ncause: .*\nhint: chmod 0700 /m,
    );
    const { exitCode, stdout } = await host().luksmith("settings", "test", "a", "--json");
    expect(exitCode).toBe(0);
    expect(valid("settings-test", stdout)).toMatchObject({
      ok: true,
      keystores: [{ name: "a", checks: ["reached", "round trip"] }],
    });
    expect(await host().luksmith("settings", "test", "c")).toMatchObject({ exitCode: 6 });
  });

  it("keys show tells one key from two that have one UUID", async () => {
    const { a, b } = await twoKeystores();
    const guest = await protectedGuest("web1", "raw");
    const uuid = await keyOf(guest);
    expect(await host().must("keys", "show", uuid)).toMatch(/^keystore: +a \(file\)\nkey: +/);
    await withKey(a, uuid, async ({ record, passphrase }) =>
      b.store({ record: { ...record, state: "pending" }, passphrase }),
    );
    expect(await host().json("keys", "show", uuid)).toMatchObject({ agree: true, copies: [{}, {}] });
    await b.delete(uuid);
    const { Secret } = await import("../../src/secret/secret.js");
    using passphrase = Secret.own(Buffer.from("of somebody else"));
    await withKey(a, uuid, ({ record }) => b.store({ record, passphrase }));
    expect(await host().must("keys", "show", uuid)).toMatch(/they differ/);
  });
});

/** Of docs/keys.md. */
const PASSPHRASE = ".keys[] | select(.record.uuid == $uuid) | .passphrase";

it("docs/keys.md shows the way by hand that is tested here", () => {
  const page = readFileSync("docs/keys.md", "utf8");
  for (const words of [PASSPHRASE, "--key-file=-", "secret,id=s,file=/dev/stdin"])
    expect(page).toContain(words);
});
