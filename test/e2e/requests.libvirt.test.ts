import { chmod, mkdir, rm } from "node:fs/promises";
import { describe, expect, it } from "vitest";
import { hostForThisFile } from "./support/each-test.js";
import { FLAVOR_ASKS, luksmithMetadata, novaMetadata, type TestGuest } from "./support/guests.js";
import { hashOf } from "./support/volumes.js";

const host = hostForThisFile();

const rule = (what: object) => ({ version: 1, rules: [{ name: "confidential", ...what }] });

/** The guest starts as if Luksmith were not there. */
async function expectUntouched(guest: TestGuest): Promise<void> {
  const definition = await host().definition(guest);
  const hashes = await Promise.all(guest.disks.map(({ path }) => hashOf(path)));
  await host().start(guest);
  const secrets = await host().libvirt.secretsLeft();
  await host().stop(guest);
  expect(await host().libvirt.secretsLeft()).toEqual(secrets);
  expect(await Promise.all(guest.disks.map(({ path }) => hashOf(path)))).toEqual(hashes);
  expect(await host().definition(guest)).toBe(definition);
  expect(await host().json("keys", "list")).toEqual({ keys: [] });
}

describe("a guest that must be encrypted and has no encryption block", () => {
  it.each<[who: string, ask: { metadata?: string; settings?: object }]>([
    ["its flavor", { metadata: FLAVOR_ASKS }],
    ["its image", { metadata: novaMetadata({}, { hw_ephemeral_encryption: "True" }) }],
    ["its own metadata", { metadata: luksmithMetadata("") }],
    ["a rule by name", { settings: rule({ guest: "web*" }) }],
    [
      "a rule by tag",
      {
        metadata: luksmithMetadata("enabled='by-rules' tags='eu secret'"),
        settings: rule({ tag: "secret" }),
      },
    ],
    ["a rule by storage", { settings: rule({ storage: "*/images/*" }) }],
  ])("as %s says does not start, and the user gets the command to run", async (_, { metadata, settings }) => {
    const guest = await host().guest("web1", ["raw"], { ...(metadata !== undefined && { metadata }) });
    if (settings !== undefined) await host().settings(settings);
    const before = await hashOf(guest.disks[0]!.path);
    const { code, hint } = await host().refusedStart(guest);
    expect({ code, hint }).toEqual({ code: "DISK_NOT_ENCRYPTED", hint: "luksmith protect web1 --disk vda" });
    expect(await hashOf(guest.disks[0]!.path)).toBe(before);
    expect(await host().isRunning(guest)).toBe(false);
    expect(await host().json("keys", "list")).toEqual({ keys: [] });
  });

  it("starts after that command", async () => {
    const guest = await host().guest("web1", ["raw", "qcow2"], { metadata: FLAVOR_ASKS });
    const { hint } = await host().refusedStart(guest);
    expect(await host().paste(hint)).toMatchObject({ exitCode: 0, stderr: "" });
    await host().start(guest);
    expect(await host().libvirt.secretsLeft()).toHaveLength(2);
  });

  it("is refused for each disk that lacks one, and for no other", async () => {
    const guest = await host().guest("web1", ["raw", "raw", "raw"], {
      metadata: luksmithMetadata("", ["vda", "vdc"]),
    });
    await host().must("protect", "web1", "--disk", "vda");
    expect(await host().refusedStart(guest)).toMatchObject({
      code: "DISK_NOT_ENCRYPTED",
      hint: "luksmith protect web1 --disk vdc",
    });
  });
});

describe("a request that cannot be met", () => {
  const yes = { "hw:ephemeral_encryption": "true" };

  it.each<[what: string, code: string, metadata: string, settings?: object]>([
    ["yes against no", "REQUEST_CONFLICT", novaMetadata(yes, { hw_ephemeral_encryption: "false" })],
    [
      "luks against plain",
      "REQUEST_CONFLICT",
      novaMetadata(
        { ...yes, "hw:ephemeral_encryption_format": "luks" },
        { hw_ephemeral_encryption_format: "plain" },
      ),
    ],
    ["a rule's yes against the guest's no", "REQUEST_CONFLICT", luksmithMetadata("enabled='no'"), rule({})],
    ["an unknown profile", "PROFILE_UNKNOWN", luksmithMetadata("profile='paranoid'")],
    ["format plain", "TRAIT_MISSING", novaMetadata({ ...yes, "hw:ephemeral_encryption_format": "plain" })],
    ["format luksv2", "TRAIT_MISSING", luksmithMetadata("format='luksv2'")],
    ["neither yes nor no", "REQUEST_INVALID", novaMetadata({ "hw:ephemeral_encryption": "perhaps" })],
  ])("(%s) is refused as %s before any I/O", async (_, code, metadata, settings) => {
    const guest = await host().guest("web1", ["raw"], { metadata, blocks: "of unknown keys" });
    if (settings !== undefined) await host().settings(settings);
    // whoever looked at the volume or the keystore would stumble
    await rm(guest.disks[0]!.path);
    await mkdir(host().keystoreDirectory, { recursive: true });
    await chmod(host().keystoreDirectory, 0o777);
    expect(await host().refusedStart(guest)).toMatchObject({ code });
    expect((await host().refusedProtect("web1")).code).toBe(code);
  });

  it("names both who contradict each other", async () => {
    const metadata = novaMetadata(yes, { hw_ephemeral_encryption: "false" });
    const { stderr } = await host().refusedStart(await host().guest("web1", ["raw"], { metadata }));
    expect(stderr).toMatch(
      /cause: flavor m1\.secret \(hw:ephemeral_encryption\).*image .*\(hw_ephemeral_encryption\)/,
    );
  });

  it("is refused before a command of the administrator can overrule a rule", async () => {
    await host().guest("web1", ["raw"]);
    await host().settings(rule({ guest: "web1", encrypt: false }));
    expect((await host().refusedProtect("web1")).code).toBe("REQUEST_CONFLICT");
  });
});

describe("a guest that nobody asks about", () => {
  it("starts untouched", async () => {
    await expectUntouched(await host().guest("web1", ["raw", "qcow2"]));
  });

  it("starts untouched where it is told not to be encrypted", async () => {
    const metadata = novaMetadata({ "hw:ephemeral_encryption": "false" });
    await expectUntouched(await host().guest("web1", ["raw"], { metadata }));
  });

  it("starts untouched where the first rule that matches exempts it", async () => {
    const rules = [{ name: "exempt", guest: "web1", encrypt: false }, { name: "all" }];
    await host().settings({ version: 1, rules });
    await expectUntouched(await host().guest("web1", ["raw"]));
  });

  it("starts with its own encryption and its own host secret, and neither is touched", async () => {
    const guest = await host().guest("web1", ["raw"], { blocks: "of unknown keys" });
    const [{ path, secretUuid } = { path: "", secretUuid: "" }] = guest.disks;
    await host().libvirt.exec(["sh", "-c", FOREIGN, "sh", path, secretUuid ?? ""]);
    expect(await host().libvirt.secretsLeft()).toEqual([secretUuid]);
    await expectUntouched(guest);
    expect(await host().libvirt.virsh("secret-get-value", "--plain", secretUuid ?? "")).toBe("theirs");
  });
});

/** Somebody else's encrypted disk with the secret that he defined for it. */
const FOREIGN = `
printf theirs | cryptsetup luksFormat -q --type luks1 --pbkdf-force-iterations 1000 "$1" -
echo "<secret ephemeral='yes' private='no'><uuid>$2</uuid></secret>" >/run/foreign.xml
printf theirs >/run/foreign.value
virsh -c qemu:///system "secret-define /run/foreign.xml; secret-set-value $2 --file /run/foreign.value --plain"
`;
