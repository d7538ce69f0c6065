import { Ajv } from "ajv";
import { readdirSync, readFileSync } from "node:fs";
import { chmod } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { CATALOGUE } from "../../src/error/catalogue.js";
import { BACKEND_TYPES } from "../../src/storage/index.js";
import { treeOf } from "../fs/tree.js";
import { hostForThisFile } from "./support/each-test.js";
import { luksmithMetadata, type TestGuest } from "./support/guests.js";
import { makeVolume } from "./support/volumes.js";

const host = hostForThisFile();

const ajv = new Ajv({ discriminator: true, strictRequired: false });
for (const path of readdirSync("schemas", { recursive: true, encoding: "utf8" })) {
  if (path.endsWith(".schema.json"))
    ajv.addSchema(JSON.parse(readFileSync(join("schemas", path), "utf8")) as object);
}

/** Runs a reading command both ways: the JSON is valid, the text has no JSON and no escape sequence in it. */
async function read(schema: string, ...args: readonly string[]): Promise<{ json: unknown; text: string }> {
  const json = await host().json(...args);
  ajv.validate(`${schema}.schema.json`, json);
  expect(ajv.errors ?? []).toEqual([]);
  const text = await host().must(...args);
  expect(text).not.toMatch(/\u001b|undefined|\[object/);
  return { json, text };
}

/** Everything that a command could change. */
async function state(guest: TestGuest): Promise<unknown> {
  const trees = ["/etc/luksmith", "/etc/libvirt", "/var/lib/luksmith", "/var/log/luksmith"].map((path) =>
    treeOf(host().inside(path)),
  );
  return [
    await host().definition(guest),
    treeOf(host().images),
    ...trees,
    await host().libvirt.secretsLeft(),
  ];
}

describe("reading commands", () => {
  it("status tells plain, pending, encrypted and foreign disks apart", async () => {
    const guest = await host().guest("web1", ["raw", "qcow2"]);
    const protections = async () => {
      const { json, text } = await read("status", "status", "web1");
      const { guests } = json as { guests: { disks: { protection: string }[] }[] };
      for (const { path } of guest.disks) expect(text).toContain(path);
      return guests.flatMap(({ disks }) => disks.map(({ protection }) => protection));
    };
    expect(await protections()).toEqual(["plain", "plain"]);
    await host().must("protect", "web1", "--disk", "vda");
    expect(await protections()).toEqual(["pending", "plain"]);
    await host().start(guest);
    expect(await protections()).toEqual(["encrypted", "plain"]);
    await host().guest("web2", ["raw"], { blocks: "of unknown keys" });
    const { json } = await read("status", "status");
    expect(json).toMatchObject({
      guests: expect.arrayContaining([
        expect.objectContaining({ name: "web1", running: true }),
        expect.objectContaining({
          name: "web2",
          disks: [expect.objectContaining({ protection: "foreign" })],
        }),
      ]) as unknown,
    });
    const sizes = (await host().json("status", "web1")) as { guests: { disks: object[] }[] };
    expect(sizes.guests[0]?.disks[0]).toMatchObject({
      ...{ guestSize: 6 * 1024 * 1024, payloadOffset: 2 * 1024 * 1024, keystore: "local" },
      ...{ format: "luks", cipher: "aes-xts-plain64", keySize: 512 },
    });
  });

  it("status says why a guest would not start", async () => {
    await host().guest("web1", ["raw"], { metadata: luksmithMetadata("") });
    const { json, text } = await read("status", "status");
    expect(json).toMatchObject({ guests: [{ problem: { code: "DISK_NOT_ENCRYPTED" } }] });
    expect(text).toMatch(/web1 would not start: .*\ncause: .*\nhint: luksmith protect web1 --disk vda/);
  });

  it("plan shows what each event would do, and does nothing", async () => {
    const guest = await host().guest("web1", ["raw", "qcow2"]);
    expect((await read("plan", "plan", "pre-start", "web1")).text).toBe(
      "nothing to do: nobody asks for encryption of guest web1\n",
    );
    await host().must("protect", "web1");
    const before = await state(guest);
    const { json, text } = await read("plan", "plan", "pre-start", "web1");
    const { stages } = json as { stages: { kind: string }[][] };
    expect(stages.map((stage) => stage.map(({ kind }) => kind))).toEqual([
      ...[["format", "format"], ["activate-key", "activate-key"], ["provide-secrets"]],
    ]);
    expect(text.split("\n").filter((line) => line !== "")).toHaveLength(5);
    expect(await state(guest)).toEqual(before);
    await host().start(guest);
    expect((await read("plan", "plan", "post-stop", "web1")).text).toMatch(/^1\. take the passphrases/);
    expect((await read("plan", "plan", "pre-migrate", "web1")).text).toMatch(
      /^1\. note that the guest migrates here\n2\. give the host/,
    );
    expect(await host().libvirt.secretsLeft()).toHaveLength(2);
  });

  it("keys list names keys, never passphrases", async () => {
    expect((await read("keys", "keys", "list")).text).toBe("no keys yet\n");
    const guest = await host().guest("web1", ["raw"]);
    await host().must("protect", "web1");
    const { json, text } = await read("keys", "keys", "list");
    const uuid = (await host().blocks(guest))["vda"];
    expect(json).toMatchObject({ keys: [{ uuid, state: "pending", disk: "vda" }] });
    const { passphrase } = await host().key(uuid);
    using secret = passphrase;
    const stored = secret.use((bytes) => bytes.toString());
    expect(JSON.stringify(json) + text).not.toContain(stored);
  });

  it("capabilities names what this host promises", async () => {
    const { json, text } = await read("capabilities", "capabilities");
    expect(json).toMatchObject({
      traits: ["COMPUTE_EPHEMERAL_ENCRYPTION", "COMPUTE_EPHEMERAL_ENCRYPTION_LUKS"],
      host: { type: "libvirt" },
      backends: expect.arrayContaining(
        ["raw", "qcow2", "block"].map((type) => expect.objectContaining({ type, missing: [] }) as unknown),
      ) as unknown,
      keystores: ["file", "barbican", "kmip", "vault"],
    });
    expect(text).toContain("COMPUTE_EPHEMERAL_ENCRYPTION_LUKS");
    expect(text).toMatch(/^native +luks +yes$/m);
    expect(text).toMatch(/^dm-crypt +luksv2 +no +\S/m);
    expect(text).toMatch(/^raw +luks, luksv2 +luks +yes$/m);
    expect(text).toMatch(/^qcow2 +luks +luks +yes$/m);
    const { backends } = json as { backends: { type: string }[] };
    expect(backends.map(({ type }) => type)).toEqual(BACKEND_TYPES);
  });

  it("capabilities tells what the settings let nobody format", async () => {
    await host().settings({ version: 1, storage: { raw: { formatting: "never" } } });
    const { json, text } = await read("capabilities", "capabilities");
    expect(json).toMatchObject({
      backends: expect.arrayContaining([
        expect.objectContaining({ type: "raw", traits: [], formatting: "never" }),
      ]) as unknown,
    });
    expect(text).toMatch(/^raw +luks, luksv2 +no +yes +the settings forbid formatting$/m);
  });

  it("version is that of the manifest", async () => {
    const { version } = JSON.parse(readFileSync("plugin.json", "utf8")) as { version: string };
    const { json, text } = await read("version", "version");
    expect(json).toMatchObject({ version, apiVersion: 1 });
    expect(text).toBe(`luksmith ${version}\n`);
  });

  it("settings get and schema print what the editor of settings needs", async () => {
    await host().settings({ version: 1, logLevel: "warn" });
    const { json } = await read("settings-get", "settings", "get");
    expect(json).toMatchObject({ path: "/etc/luksmith/settings.json", settings: { logLevel: "warn" } });
    const schema = JSON.parse(await host().must("settings", "schema")) as object;
    expect(schema).toEqual(JSON.parse(readFileSync("schemas/settings.schema.json", "utf8")));
  });

  it("settings test tries each keystore, and says what is wrong with it", async () => {
    expect((await read("settings-test", "settings", "test")).json).toMatchObject({ ok: true });
    expect(await host().json("keys", "list")).toEqual({ keys: [] });
    await chmod(host().keystoreDirectory, 0o755);
    const { exitCode, stdout } = await host().luksmith("settings", "test", "--json");
    expect(exitCode).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({
      ok: false,
      keystores: [{ problem: { code: "PERMISSIONS_UNSAFE" } }],
    });
    const text = await host().luksmith("settings", "test");
    expect(text.stdout).toMatch(/^failed: keystore local .*\ncause: .*\nhint: chmod 0700 /);
  });

  it("doctor finds nothing wrong, or names what is", async () => {
    const { json, text } = await read("doctor", "doctor");
    expect(json).toMatchObject({ ok: true });
    expect(text).toMatch(/^ok: hook: registered at /m);
    await host().must("uninstall", "--host", "libvirt");
    const { exitCode, stdout } = await host().luksmith("doctor");
    expect(exitCode).toBe(1);
    expect(stdout).toMatch(/^failed: hook: .*\nhint: luksmith install --host libvirt$/m);
    await host().install();
  });

  it("doctor does not take a keystore that cannot be asked for one that has lost its keys", async () => {
    await host().guest("web1", ["raw"]);
    await host().must("protect", "web1");
    await chmod(host().keystoreDirectory, 0o755);
    const { exitCode, stdout } = await host().luksmith("doctor");
    expect(exitCode).toBe(1);
    expect(stdout).toMatch(/^failed: keystore local: .*\nhint: chmod 0700 /m);
    expect(stdout).not.toContain("no keystore has the key");
    await chmod(host().keystoreDirectory, 0o700);
  });

  it("doctor finds the host secret of a guest that does not run", async () => {
    const guest = await host().guest("web1", ["raw"]);
    await host().must("protect", "web1");
    await host().start(guest);
    await host().must("uninstall", "--host", "libvirt");
    await host().stop(guest);
    const { stdout } = await host().luksmith("doctor");
    expect(stdout).toMatch(/^warning: host secrets: 1 belong/m);
    const hint = /host secrets.*\nhint: (luksmith reap)$/m.exec(stdout)?.[1] ?? "";
    expect(await host().paste(hint)).toMatchObject({ exitCode: 0 });
    expect(await host().libvirt.secretsLeft()).toEqual([]);
    await host().install();
  });

  it.each(["bash", "zsh", "fish"])("completion prints a script for %s", async (shell) => {
    const script = await host().must("completion", shell);
    for (const word of ["protect", "--dry-run", "status", "settings"])
      expect(script).toContain(word.replace(/^--/, ""));
    expect(
      await host().libvirt.exec(["bash", "-n"], { input: shell === "fish" ? "" : script }),
    ).toMatchObject({
      exitCode: 0,
      stderr: "",
    });
  });
});

describe("changing commands with --dry-run", () => {
  it("say what they would do and change nothing: protect, install, uninstall, settings set", async () => {
    const guest = await host().guest("web1", ["raw", "qcow2"]);
    const before = await state(guest);
    const protect = await host().must("protect", "web1", "--dry-run", "--now");
    expect(protect.split("\n").filter((line) => line.startsWith("would "))).toHaveLength(7);
    expect(await host().must("uninstall", "--host", "libvirt", "--dry-run")).toMatch(/^would be removed: /);
    expect(await host().must("install", "--host", "libvirt", "--dry-run")).toMatch(/unchanged: /);
    const set = await host().libvirt.exec(host().command("settings", "set", "--dry-run"), {
      input: '{"version":1}',
    });
    expect(set).toMatchObject({ exitCode: 0, stderr: "" });
    expect(await state(guest)).toEqual(before);

    await host().must("uninstall", "--host", "libvirt");
    const uninstalled = await state(guest);
    expect(await host().must("install", "--host", "libvirt", "--dry-run")).toMatch(/^would be installed: /);
    expect(await state(guest)).toEqual(uninstalled);
    await host().install();
    expect(await state(guest)).toEqual(before);
  });

  it("refuse what they would refuse", async () => {
    const guest = await host().guest("web1", ["raw"]);
    await makeVolume(guest.disks[0]!.path, "qcow2");
    const before = await state(guest);
    expect(await host().luksmith("protect", "web1", "--dry-run")).toMatchObject({ exitCode: 3, stdout: "" });
    expect(await state(guest)).toEqual(before);
  });

  it("refuse what the settings let nobody format, as protect and a start do, and store no key for it", async () => {
    const never = { version: 1, storage: { raw: { formatting: "never" } } };
    const refused = {
      exitCode: CATALOGUE.VOLUME_FORMAT_FORBIDDEN.exit,
      ...{ stdout: "", stderr: expect.stringContaining("storage.raw.formatting") as string },
    };
    const guest = await host().guest("web1", ["raw"]);
    await host().settings(never);
    for (const more of [["--dry-run"], [], ["--now"]])
      expect(await host().luksmith("protect", "web1", ...more)).toMatchObject(refused);
    expect(await host().json("keys", "list")).toEqual({ keys: [] });
    expect(await host().blocks(guest)).toEqual({});

    await host().guest("web2", ["raw"], { blocks: "of unknown keys", metadata: luksmithMetadata("") });
    expect(await host().luksmith("plan", "pre-start", "web2")).toMatchObject(refused);
    expect(await host().json("keys", "list")).toEqual({ keys: [] });
    expect(await host().json("status", "web2")).toMatchObject({
      guests: [{ problem: { code: "VOLUME_FORMAT_FORBIDDEN" } }],
    });
  });
});

describe("settings set", () => {
  const set = (input: string, ...options: string[]) =>
    host().libvirt.exec(host().command("settings", "set", ...options), { input });

  it("replaces the settings that the caller knows, and no others", async () => {
    const { digest } = (await host().json("settings", "get")) as { digest: string };
    expect(await set('{"version":1,"logLevel":"debug"}', "--digest", digest)).toMatchObject({
      exitCode: 0,
      stderr: "",
    });
    expect(await set('{"version":1}', "--digest", digest)).toMatchObject({ exitCode: 3 });
    expect(await host().json("settings", "get")).toMatchObject({ settings: { logLevel: "debug" } });
  });

  it("lists all that is wrong, and leaves the settings as they are", async () => {
    await host().settings({ version: 1, logLevel: "debug" });
    const { exitCode, stderr } = await set('{"version":3,"logLevel":1,"rules":[{}]}');
    expect(exitCode).toBe(6);
    for (const path of ["version", "logLevel", "rules[0].name"]) expect(stderr).toContain(`${path}: `);
    expect(await host().json("settings", "get")).toMatchObject({ settings: { logLevel: "debug" } });
  });
});

describe("the command line", () => {
  it.each<[args: string[], exitCode: number, stderr: RegExp]>([
    [["protect"], 2, /missing required argument/],
    [["protct", "web1"], 2, /Did you mean protect/],
    [["plan", "pre-breakfast", "web1"], 2, /pre-start, post-stop, pre-migrate/],
    [["install", "--host", "xen"], 2, /libvirt/],
    [["protect", "nobody"], 4, /^error: cannot find guest "nobody"\ncause: .*\nhint: /],
    [["status", "nobody"], 4, /^error: cannot find guest "nobody"/],
    [["protect", "web1", "--disk", "vdz"], 3, /^error: guest web1 has no disk vdz\nhint: it has vda, sda\n$/],
    [["protect", "web1", "--disk", "constructor"], 3, /has no disk constructor/],
    [["protect", "web1", "--disk", "sda"], 3, /cannot be encrypted\ncause: it is a CD-ROM/],
    [["protect", "web1", "--profile", "none"], 6, /there is no profile none/],
    [["grow", "web1"], 2, /missing required argument 'disk'/],
    [["grow", "web1", "vda", "10GB"], 2, /'10GB' is invalid.*number of bytes/],
    [["grow", "nobody", "vda"], 4, /^error: cannot find guest "nobody"/],
    [["grow", "web1", "vdz"], 3, /^error: guest web1 has no disk vdz\nhint: it has vda, sda\n$/],
  ])("%j ends with exit code %i", async (args, exitCode, stderr) => {
    const path = host().newPath("raw");
    await makeVolume(path, "raw");
    const cdrom = "<disk type='file' device='cdrom'><target dev='sda' bus='sata'/></disk>";
    await host().define({ name: "web1", disks: [{ dev: "vda", path, format: "raw" }], devices: cdrom });
    const ended = await host().luksmith(...args);
    expect(ended).toMatchObject({ exitCode, stdout: "", stderr: expect.stringMatching(stderr) as string });
  });

  it("says who must run it", async () => {
    // another user, who may read the files of the tests all the same
    const caps = "+dac_read_search,+dac_override";
    const asNobody = ["setpriv", "--reuid=65534", `--inh-caps=${caps}`, `--ambient-caps=${caps}`];
    const ended = await host().libvirt.exec([...asNobody, ...host().command("status")]);
    expect(ended).toMatchObject({
      exitCode: CATALOGUE.NOT_PERMITTED.exit,
      stdout: "",
      stderr: expect.stringContaining("hint: sudo luksmith status") as string,
    });
  });

  it("ends quietly when its reader has seen enough", async () => {
    await host().guest("web1", ["raw"]);
    const [node = "", cli = ""] = host().command();
    const script = `set -o pipefail; '${node}' '${cli}' settings schema | head -c 10; echo " \${PIPESTATUS[0]}"`;
    expect((await host().libvirt.exec(["bash", "-c", script])).stdout).toMatch(/ 0\n$/);
  });
});
