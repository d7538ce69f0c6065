import { execa } from "execa";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { ExecaCommandRunner } from "../../src/exec/command-runner.js";
import { createKeyring } from "../../src/keystore/index.js";
import { type KeyUuid, parseKeyUuid } from "../../src/keystore/key-uuid.js";
import { secretFile } from "../../src/secret/secret-file.js";
import type { Secret } from "../../src/secret/secret.js";
import { parseSettings } from "../../src/settings/load.js";
import { createStorageRegistry } from "../../src/storage/index.js";
import type { Volume } from "../../src/storage/volume.js";
import type { LibvirtHost } from "../lab/libvirt-host.js";
import { type DemoPaths, demoPaths, domainXml, GUEST, makeDisks, MARKER } from "./demo-guest.js";
import type { DemoDisk, DemoResult } from "./demo-result.js";
import { DEFAULT_STORAGE } from "../storage/default-storage.js";

const LUKSMITH = fileURLToPath(new URL("../../dist/cli/luksmith.js", import.meta.url));
const runner = new ExecaCommandRunner();

type Say = (line: string) => void;

/** The steps of the demo, in the order in which an administrator would take them. */
export async function runDemo(host: LibvirtHost, say: Say, interrupted: AbortSignal): Promise<DemoResult> {
  const mappingsBefore = await mappings();
  const paths = demoPaths(host.dir);
  const step = async (title: string, action: () => Promise<void>) => {
    interrupted.throwIfAborted();
    say(`\n== ${title}`);
    await action();
  };
  const show = async (argv: readonly string[]) => {
    say(`$ ${["luksmith", ...argv].join(" ")}`);
    say((await luksmith(host, argv)).trimEnd());
  };

  await step("a guest with two new disks, raw and qcow2", async () => {
    await makeDisks(paths);
    await host.define(domainXml(paths));
  });
  await step("install the plugin", () => show(["install", "--host", "libvirt"]));
  await step("protect the guest", () => show(["protect", GUEST]));
  await step("first start: libvirtd fires the hook, which formats the disks", async () => {
    await host.virsh("start", GUEST);
    await show(["status", GUEST]);
    await host.virsh("destroy", GUEST);
  });

  const volumes: Record<string, Volume> = {
    vda: { kind: "file", path: paths.raw, format: "raw" },
    vdb: { kind: "file", path: paths.qcow2, format: "qcow2" },
  };
  const secretUuids = await encryptionBlocks(host);
  using vda = await passphraseOf(host, secretUuids["vda"]);
  using vdb = await passphraseOf(host, secretUuids["vdb"]);

  await step(
    "put the guest's boot program on its encrypted disk, through QEMU and the stored passphrase",
    () => writeThroughQemu(paths, vda),
  );
  await step("second start: the guest boots from its encrypted disk", async () => {
    await host.virsh("start", GUEST);
    const serial = await waitForSerial(paths.serial, interrupted);
    say(serial.trimEnd());
    await host.virsh("destroy", GUEST);
  });

  const disks = await Promise.all(
    Object.entries(volumes).map(([device, volume]) => inspectDisk(device, volume, secretUuids[device])),
  );
  const result: DemoResult = {
    events: await firedEvents(host),
    disks,
    guestMarkerReadBack: (await readFile(paths.serial, "latin1")).includes(`read back ${MARKER}`),
    independentReader: await opensWithCryptsetup(paths.raw, vda),
    distinctPassphrases: !vda.equals(vdb),
    secretsLeft: (await host.secretsLeft()).length,
    mappingsLeft: (await mappings()).filter((name) => !mappingsBefore.includes(name)).length,
  };
  await step("what is true now", () => {
    report(result, say);
    return Promise.resolve();
  });
  return result;
}

function report(result: DemoResult, say: Say): void {
  say(`events fired by libvirtd: ${result.events.join(", ")}`);
  for (const { device, backend, luksVersion, luksUuid, plaintextFound } of result.disks) {
    const marker = plaintextFound
      ? "the marker is READABLE on the volume"
      : "the marker is nowhere in plaintext";
    say(`${device} (${backend}): LUKS${luksVersion} ${luksUuid}; ${marker}`);
  }
  say(`the guest read its marker back: ${result.guestMarkerReadBack ? "yes" : "NO"}`);
  say(
    `cryptsetup opens ${result.disks[0]?.device ?? ""} with the stored passphrase: ${result.independentReader ? "yes" : "NO"}`,
  );
  say(`passphrases are distinct: ${result.distinctPassphrases ? "yes" : "NO"}`);
  say(`host secrets left: ${result.secretsLeft}, mappings left: ${result.mappingsLeft}`);
}

async function luksmith(host: LibvirtHost, argv: readonly string[]): Promise<string> {
  const { exitCode, stdout, stderr } = await host.exec([process.execPath, LUKSMITH, ...argv]);
  if (exitCode !== 0)
    throw new Error(`luksmith ${argv.join(" ")} ended with exit code ${exitCode}\n${stderr}`);
  return stdout;
}

/** Device name → secret UUID, as libvirtd itself has them in the guest's definition. */
async function encryptionBlocks(host: LibvirtHost): Promise<Record<string, KeyUuid>> {
  const { stdout } = await execa(
    "xmllint",
    ["--xpath", "//disk/target/@dev | //disk/source/encryption/secret/@uuid", "-"],
    {
      input: await host.virsh("dumpxml", "--inactive", GUEST),
    },
  );
  const values = [...stdout.matchAll(/"([^"]+)"/g)].map(([, value]) => value ?? "");
  const blocks: Record<string, KeyUuid> = {};
  for (const [index, value] of values.entries()) {
    const uuid = parseKeyUuid(value);
    const device = values[index + 1];
    if (uuid !== undefined && device !== undefined) blocks[device] = uuid;
  }
  return blocks;
}

/** Fetched as any event does, from the private host's keystore. */
async function passphraseOf(host: LibvirtHost, uuid: KeyUuid | undefined): Promise<Secret> {
  const directory = join(host.root, "var/lib/luksmith/keystore");
  const settings = parseSettings(
    JSON.stringify({ version: 1, keystores: [{ name: "local", type: "file", directory }] }),
    "demo",
  );
  if (uuid === undefined) throw new Error("the guest's definition has no encryption block");
  const located = await createKeyring(settings, { runner }).locate(uuid);
  if (located.kind !== "found") throw new Error(`no key ${uuid} in the keystore`);
  return located.key.passphrase;
}

async function writeThroughQemu({ raw, bootSector }: DemoPaths, passphrase: Secret): Promise<void> {
  using key = secretFile(passphrase);
  const image = `driver=luks,key-secret=s,file.driver=file,file.filename=${raw}`;
  await execa(
    "qemu-io",
    [
      "--object",
      "secret,id=s,file=/proc/self/fd/3",
      "--image-opts",
      image,
      "-c",
      `write -s ${bootSector} 0 512`,
    ],
    { stdio: ["ignore", "pipe", "pipe", key.fd as 3] },
  );
}

async function waitForSerial(path: string, interrupted: AbortSignal): Promise<string> {
  const deadline = Date.now() + 60_000;
  for (;;) {
    const text = await readFile(path, "latin1");
    if (/read back [^\n]*\n|disk error/.test(text)) return text;
    if (Date.now() > deadline) throw new Error(`the guest said nothing within 60 s, only: ${text}`);
    await sleep(50, undefined, { signal: interrupted });
  }
}

async function inspectDisk(
  device: string,
  volume: Volume,
  secretUuid: KeyUuid | undefined,
): Promise<DemoDisk> {
  const backend = await createStorageRegistry(runner, DEFAULT_STORAGE).backendFor(volume);
  const probe = await backend.probe(volume, "header");
  if (probe.kind !== "luks") throw new Error(`${device} has no LUKS header: ${probe.kind}`);
  const bytes = volume.kind === "file" ? await readFile(volume.path) : Buffer.alloc(0);
  return {
    device,
    backend: backend.type,
    format: "luks",
    luksVersion: probe.header.version,
    luksUuid: probe.header.uuid,
    secretUuid: secretUuid ?? "",
    plaintextFound: bytes.includes(MARKER, 0, "latin1"),
  };
}

async function opensWithCryptsetup(volume: string, passphrase: Secret): Promise<boolean> {
  using key = secretFile(passphrase);
  const args = [
    "open",
    "--test-passphrase",
    "--type",
    "luks1",
    "--key-file",
    "/proc/self/fd/3",
    "--",
    volume,
  ];
  const { exitCode } = await execa("cryptsetup", args, {
    stdio: ["ignore", "pipe", "pipe", key.fd as 3],
    reject: false,
  });
  return exitCode === 0;
}

/** What the hooks wrote into their log, a line for each event that libvirtd fired. */
async function firedEvents(host: LibvirtHost): Promise<string[]> {
  const log = await readFile(join(host.root, "var/log/luksmith/luksmith.log"), "utf8");
  return log
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as { event?: string })
    .flatMap(({ event }) => (event === undefined ? [] : [event]));
}

async function mappings(): Promise<string[]> {
  return (await readdir("/dev/mapper").catch(() => [])).filter((name) => name !== "control");
}
