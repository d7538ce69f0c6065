import { Ajv } from "ajv";
import { chmod, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { describe, expect, it } from "vitest";
import { treeOf } from "../fs/tree.js";
import { hostForThisFile } from "./support/each-test.js";
import { FLAVOR_ASKS, luksmithMetadata, novaMetadata } from "./support/guests.js";

const host = hostForThisFile();

const YES = { "hw:ephemeral_encryption": "true" };
const ENCRYPTION = "COMPUTE_EPHEMERAL_ENCRYPTION";

interface Answer {
  readonly exitCode: number;
  readonly able: boolean;
  readonly requires: readonly string[];
  readonly disks: readonly Readonly<Record<string, unknown>>[];
  readonly codes: readonly string[];
  readonly text: string;
}

/** Asks both ways: the exit code is the same, the JSON is valid. `input`: for standard input. */
async function ask(named: string, { more = [], input = "" }: { more?: string[]; input?: string } = {}) {
  const run = (...args: string[]) =>
    host().libvirt.exec(host().command("capabilities", "--for", named, ...more, ...args), { input });
  const [json, text] = [await run("--json"), await run()];
  const schema = await readFile("schemas/cli/capabilities-for.schema.json", "utf8");
  const ajv = new Ajv();
  const output = JSON.parse(json.stdout) as Omit<Answer, "codes"> & { problems: { code: string }[] };
  ajv.validate(JSON.parse(schema) as object, output);
  expect(ajv.errors ?? []).toEqual([]);
  expect(text.exitCode).toBe(json.exitCode);
  expect(text.stdout).not.toMatch(/\u001b|undefined|\[object/);
  const { problems, ...rest } = output;
  return {
    ...rest,
    ...{ codes: problems.map(({ code }) => code), exitCode: json.exitCode, text: text.stdout },
  };
}

/** Everything that the question could change. */
function state(): unknown {
  const trees = ["/etc/luksmith", "/var/lib/luksmith"].map((path) => treeOf(host().inside(path)));
  return [treeOf(host().images), ...trees];
}

describe("capabilities --for a guest of this host", () => {
  it("that nobody asks to encrypt: it can run", async () => {
    await host().guest("web1", ["raw", "qcow2"]);
    const { exitCode, able, requires, disks, text } = await ask("web1");
    expect({ exitCode, able, requires }).toEqual({ exitCode: 0, able: true, requires: [] });
    expect(disks).toMatchObject([{ traits: [] }, { traits: [] }]);
    expect(text).toMatch(/^web1 can run on this host\n\nDISK .*\nvda +plaintext /);
  });

  it("that must be encrypted: who would do it, and the command that comes first", async () => {
    await host().guest("web1", ["raw", "qcow2"], { metadata: FLAVOR_ASKS });
    const before = state();
    const { exitCode, requires, disks, text } = await ask("web1");
    expect({ exitCode, requires }).toEqual({ exitCode: 0, requires: [ENCRYPTION] });
    const wanted = { traits: [ENCRYPTION, `${ENCRYPTION}_LUKS`], provider: "native", annotated: false };
    expect(disks).toMatchObject([
      { device: "vda", backend: "raw", keystore: "local", profile: "default", ...wanted },
      { device: "vdb", backend: "qcow2", ...wanted },
    ]);
    expect(text).toMatch(/\nbefore it starts: luksmith protect web1 --disk vda --disk vdb\n$/);
    expect(state()).toEqual(before);
    await host().must("protect", "web1");
    await host().start((await host().guests()).all.map((uuid) => ({ name: "web1", uuid, disks: [] }))[0]!);
    const protectedNow = await ask("web1", { more: ["--with-keys"] });
    expect(protectedNow).toMatchObject({
      exitCode: 0,
      disks: [
        { annotated: true, keyState: "found", keystore: "local" },
        { annotated: true, keyState: "found" },
      ],
    });
    expect(protectedNow.text).not.toContain("before it starts");
  });

  it.each(["luksv2", "plain"])(
    "whose flavor wants %s: refused, as its protect and its start are, by the missing trait",
    async (format) => {
      const metadata = novaMetadata({ ...YES, "hw:ephemeral_encryption_format": format });
      const guest = await host().guest("web1", ["raw"], { metadata });
      const { exitCode, able, codes, requires, text } = await ask("web1");
      const trait = `${ENCRYPTION}_${format.toUpperCase()}`;
      expect({ exitCode, able, codes }).toEqual({ exitCode: 3, able: false, codes: ["TRAIT_MISSING"] });
      expect(requires).toEqual([ENCRYPTION, trait]);
      expect(text).toMatch(/^web1 cannot run on this host\n/);
      expect(text).toContain(trait);
      // whoever looked at the volume or the keystore would stumble
      await rm(guest.disks[0]!.path);
      await mkdir(host().keystoreDirectory, { recursive: true });
      await chmod(host().keystoreDirectory, 0o777);
      for (const refused of [await host().refusedStart(guest), await host().refusedProtect("web1")]) {
        expect(refused.code).toBe("TRAIT_MISSING");
        expect(refused.stderr).toContain(trait);
        expect(refused.hint).not.toContain("luksmith protect");
      }
      expect(await host().isRunning(guest)).toBe(false);
    },
  );

  it("whose flavor and image do not agree: that is the refusal", async () => {
    const metadata = novaMetadata(YES, { hw_ephemeral_encryption: "false" });
    await host().guest("web1", ["raw"], { metadata });
    const { exitCode, codes, disks, text } = await ask("web1");
    expect({ exitCode, codes, disks }).toEqual({ exitCode: 3, codes: ["REQUEST_CONFLICT"], disks: [] });
    expect(text).toMatch(/cause: flavor m1\.secret .*image /);
  });

  it("that wants no encryption on a host that has none: it runs, and starts", async () => {
    await host().settings({ version: 1, encryption: { engine: "dm-crypt" } });
    const metadata = novaMetadata({ ...YES, "hw:ephemeral_encryption": "false" });
    const guest = await host().guest("web1", ["qcow2"], { metadata });
    expect(await ask("web1")).toMatchObject({ exitCode: 0, codes: [] });
    await host().start(guest);
  });

  it("under settings that leave it no engine: refused", async () => {
    await host().settings({ version: 1, encryption: { engine: "dm-crypt" } });
    const guest = await host().guest("web1", ["qcow2"], { metadata: FLAVOR_ASKS });
    expect(await ask("web1")).toMatchObject({ exitCode: 3, codes: ["VOLUME_UNSUPPORTED"] });
    expect((await host().refusedStart(guest)).code).toBe("VOLUME_UNSUPPORTED");
  });
});

describe("capabilities --for a domain XML", () => {
  it("of a guest that is defined elsewhere, on standard input and in a file", async () => {
    const guest = await host().guest("web1", ["raw"], { metadata: luksmithMetadata("") });
    await host().must("protect", "web1");
    const xml = await host().definition(guest);
    await host().libvirt.virsh("undefine", guest.uuid);
    await rm(guest.disks[0]!.path);
    expect(await ask("-", { input: xml })).toMatchObject({
      exitCode: 0,
      guest: { id: guest.uuid, name: "web1" },
      disks: [{ annotated: true, provider: "native" }],
    });
    const path = host().newPath("xml");
    await writeFile(path, xml);
    const { disks } = await ask(path, { more: ["--with-keys"] });
    expect(disks).toMatchObject([{ keyState: "found" }]);
    await rm(host().keystoreDirectory, { recursive: true });
    expect(await ask(path)).toMatchObject({ exitCode: 0 });
    expect(await ask(path, { more: ["--with-keys"] })).toMatchObject({
      exitCode: 3,
      codes: ["KEY_NOT_FOUND"],
      disks: [{ keyState: "unknown" }],
    });
  });

  it.each([
    ["no XML at all", "-", "hello", 3, "GUEST_CONFIG_INVALID"],
    ["nothing", "-", "", 2, "USAGE"],
    ["a file that is not there", "./web1.xml", "", 2, "USAGE"],
    ["a guest that is not there", "web1", "", 4, "GUEST_NOT_FOUND"],
  ])("that is %s is an error and no answer", async (_, named, input, exitCode, code) => {
    const command = host().command("capabilities", "--for", named, "--json");
    const answer = await host().libvirt.exec(command, { input });
    expect(answer.exitCode).toBe(exitCode);
    expect(JSON.parse(answer.stdout)).toMatchObject({ error: { code } });
  });
});

describe("doctor", () => {
  const doctor = async () => (await host().luksmith("doctor")).stdout;

  it("says nothing of dm-crypt where nobody wants it", async () => {
    await host().guest("web1", ["raw"]);
    const said = await doctor();
    expect(said).not.toMatch(/dm-crypt|legacy/);
    expect(said).toMatch(/^ok: guests: 1 defined, each can run here$/m);
  });

  it.each([
    ["the engine", { encryption: { engine: "dm-crypt" } }, "encryption.engine dm-crypt"],
    ["a profile", { profiles: [{ name: "default", format: "luksv2" }] }, "profile default (luksv2)"],
    ["legacy", { legacy: { enabled: true } }, "legacy.enabled"],
  ])("says that dm-crypt is missing where %s needs it", async (_, settings, why) => {
    await host().settings({ version: 1, ...settings });
    const said = await doctor();
    expect(said).toContain(`failed: dm-crypt: needed for ${why}, and not there: `);
    expect(/^warning: legacy: .*deprecated$/m.test(said)).toBe("legacy" in settings);
  });

  it("names a guest that cannot run here", async () => {
    const metadata = novaMetadata({ ...YES, "hw:ephemeral_encryption_format": "luksv2" });
    await host().guest("web1", ["raw"], { metadata });
    expect(await doctor()).toMatch(
      new RegExp(`^warning: guests: cannot run here: web1 \\(.*${ENCRYPTION}_LUKSV2`, "m"),
    );
  });
});
