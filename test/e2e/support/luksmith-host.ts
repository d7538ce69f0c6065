import { randomUUID } from "node:crypto";
import { existsSync } from "node:fs";
import { cp, mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { CATALOGUE, type ErrorCode } from "../../../src/error/catalogue.js";
import { FileKeystore } from "../../../src/keystore/file/file-keystore.js";
import { type KeyUuid, parseKeyUuid } from "../../../src/keystore/key-uuid.js";
import type { Key, KeyDeleter, KeyLister, Keystore } from "../../../src/keystore/keystore.js";
import {
  type ExecResult,
  type LibvirtHost,
  type LibvirtHostOptions,
  startLibvirtHost,
} from "../../lab/libvirt-host.js";
import { type GuestDisk, guestXml, type TestGuest } from "./guests.js";
import { type ImageFormat, makeVolume } from "./volumes.js";

const PROJECT = fileURLToPath(new URL("../../..", import.meta.url));

/** A line of Luksmith's log. */
export interface LogRecord {
  readonly level: string;
  readonly message: string;
  readonly guest?: string;
  readonly event?: string;
  readonly cause?: string;
  readonly steps?: readonly string[];
  readonly code?: ErrorCode;
  readonly what?: string;
  readonly why?: string;
  readonly hint?: string;
}

/** How Luksmith refused something: what its log has, and what the person saw. */
export interface Refusal {
  readonly code: ErrorCode;
  readonly hint: string;
  readonly stderr: string;
}

export interface GuestChoices {
  /** XML inside of `<metadata>`. */
  readonly metadata?: string;
  /** Every disk brings an encryption block with a secret UUID that no keystore knows. */
  readonly blocks?: "of unknown keys";
}

export interface LuksmithHostOptions extends LibvirtHostOptions {
  /** Directory of the volumes, for hosts that share one; else the host has its own. */
  readonly images?: string;
}

/** A private libvirt host with the built plugin installed, as an administrator installs it. */
export class LuksmithHost implements AsyncDisposable {
  private constructor(
    readonly libvirt: LibvirtHost,
    /** The installed copy of the plugin: a build beside the tests does not change it. */
    readonly pluginRoot: string,
    /** Directory of the volumes, the same inside and outside. */
    readonly images: string,
  ) {}

  static async start(options: LuksmithHostOptions = {}): Promise<LuksmithHost> {
    const libvirt = await startLibvirtHost(options);
    const { images = join(libvirt.dir, "images") } = options;
    try {
      const pluginRoot = join(libvirt.dir, "plugin");
      await copyPlugin(pluginRoot);
      const host = new LuksmithHost(libvirt, pluginRoot, images);
      await mkdir(images, { recursive: true });
      await host.install();
      return host;
    } catch (thrown) {
      await libvirt.stop();
      throw thrown;
    }
  }

  /** A path of the host as the test sees it. */
  inside(path: string): string {
    return join(this.libvirt.root, path);
  }

  get keystoreDirectory(): string {
    return this.inside("/var/lib/luksmith/keystore");
  }

  /** Registers the hooks, and does what the command says is left to do. */
  async install(): Promise<void> {
    const said = await this.must("install", "--host", "libvirt");
    const command = /^now run: (.*)$/m.exec(said)?.[1];
    if (command === undefined) return;
    await this.libvirt.exec(["sh", "-c", command]);
    await this.libvirt.virsh("uri");
  }

  luksmith(...args: readonly string[]): Promise<ExecResult> {
    return this.libvirt.exec(this.command(...args));
  }

  command(...args: readonly string[]): string[] {
    return [process.execPath, join(this.pluginRoot, "dist/cli/luksmith.js"), ...args];
  }

  /** Runs a command line as a person pastes it into a shell, out of a hint. */
  async paste(commandLine: string): Promise<ExecResult> {
    const [node = "", cli = ""] = this.command();
    return this.libvirt.exec(["sh", "-c", `luksmith() { '${node}' '${cli}' "$@"; }\n${commandLine}`]);
  }

  /** Standard output of a command that works. */
  async must(...args: readonly string[]): Promise<string> {
    const { exitCode, stdout, stderr } = await this.luksmith(...args);
    if (exitCode !== 0) throw new Error(`luksmith ${args.join(" ")}: exit code ${exitCode}\n${stderr}`);
    return stdout;
  }

  /** What `luksmith ARGS --json` prints. */
  async json(...args: readonly string[]): Promise<unknown> {
    return JSON.parse(await this.must(...args, "--json"));
  }

  /** Defines a guest with new volumes of these formats: vda, vdb, … */
  async guest(name: string, formats: readonly ImageFormat[], more: GuestChoices = {}): Promise<TestGuest> {
    const disks = await Promise.all(
      formats.map(async (format, index): Promise<GuestDisk> => {
        const path = this.newPath(format);
        await makeVolume(path, format);
        const dev = `vd${String.fromCharCode(97 + index)}`;
        return { dev, path, format, ...(more.blocks && { secretUuid: randomUUID() }) };
      }),
    );
    return this.define({ name, disks, ...(more.metadata !== undefined && { metadata: more.metadata }) });
  }

  newPath(format: string): string {
    return join(this.images, `${randomUUID()}.${format}`);
  }

  async define(guest: Omit<TestGuest, "uuid"> & { readonly uuid?: string }): Promise<TestGuest> {
    const complete = { uuid: randomUUID(), ...guest };
    await this.libvirt.define(guestXml(complete));
    return complete;
  }

  async start(guest: TestGuest): Promise<void> {
    await this.libvirt.virsh("start", guest.uuid);
  }

  async stop(guest: TestGuest): Promise<void> {
    await this.libvirt.virsh("destroy", guest.uuid);
  }

  async isRunning(guest: TestGuest): Promise<boolean> {
    return (await this.libvirt.virsh("list", "--uuid")).includes(guest.uuid);
  }

  definition(guest: TestGuest): Promise<string> {
    return this.libvirt.virsh("dumpxml", "--inactive", "--security-info", guest.uuid);
  }

  /** Device name → secret UUID of the encryption blocks in the guest's persistent definition. */
  async blocks(guest: TestGuest): Promise<Record<string, KeyUuid>> {
    const blocks: Record<string, KeyUuid> = {};
    for (const [disk] of (await this.definition(guest)).matchAll(/<disk .*?<\/disk>/gs)) {
      const uuid = parseKeyUuid(/<secret .*?uuid='([^']+)'/.exec(disk)?.[1] ?? "");
      const dev = /<target dev='([^']+)'/.exec(disk)?.[1];
      if (uuid !== undefined && dev !== undefined) blocks[dev] = uuid;
    }
    return blocks;
  }

  /** Where its keys are; a test that sets up another keystore replaces it. */
  keystore: () => Keystore & KeyLister & KeyDeleter = () =>
    new FileKeystore({ name: "local", type: "file", directory: this.keystoreDirectory });

  /** The key, whose passphrase the caller disposes of. */
  async key(uuid: string | undefined): Promise<Key> {
    const parsed = parseKeyUuid(uuid ?? "");
    const key = parsed && (await this.keystore().fetch(parsed));
    if (key === undefined) throw new Error(`the keystore has no key ${uuid ?? "(none named)"}`);
    return key;
  }

  async settings(settings: object | string): Promise<void> {
    const text = typeof settings === "string" ? settings : JSON.stringify(settings);
    await writeFile(this.inside("/etc/luksmith/settings.json"), text, { mode: 0o644 });
  }

  async log(): Promise<LogRecord[]> {
    const path = this.inside("/var/log/luksmith/luksmith.log");
    if (!existsSync(path)) return [];
    const lines = (await readFile(path, "utf8")).split("\n").slice(0, -1);
    return lines.map((line) => JSON.parse(line) as LogRecord);
  }

  /** The guest does not start, and virsh tells the user all that the log says about it. */
  refusedStart(guest: TestGuest): Promise<Refusal> {
    return this.refusal(() => this.libvirt.exec(["virsh", "-c", "qemu:///system", "start", guest.uuid]), 1);
  }

  /** `luksmith protect` refuses, with the exit code of its error, and tells the user all that the log says. */
  refusedProtect(...args: readonly string[]): Promise<Refusal> {
    return this.refusal(() => this.luksmith("protect", ...args));
  }

  /** The same of `luksmith grow`. */
  refusedGrow(...args: readonly string[]): Promise<Refusal> {
    return this.refusal(() => this.luksmith("grow", ...args));
  }

  private async refusal(run: () => Promise<ExecResult>, expectedExitCode?: number): Promise<Refusal> {
    const before = (await this.log()).length;
    const { exitCode, stderr } = await run();
    const errors = (await this.log()).slice(before).filter(({ level }) => level === "error");
    const [{ code, what, why, hint } = {}] = errors;
    if (code === undefined) throw new Error(`no error is in the log; exit code ${exitCode}\n${stderr}`);
    const lines = [
      `error: ${what ?? ""}`,
      ...(why === undefined ? [] : [`cause: ${why}`]),
      ...(hint === undefined ? [] : [`hint: ${hint}`]),
    ];
    const untold = lines.filter((line) => !stderr.includes(line));
    if (untold.length > 0) throw new Error(`the user is not told ${JSON.stringify(untold)}, only\n${stderr}`);
    const expected = expectedExitCode ?? CATALOGUE[code].exit;
    if (exitCode !== expected) throw new Error(`exit code ${exitCode} instead of ${expected}\n${stderr}`);
    return { code, hint: hint ?? "", stderr };
  }

  async stopGuests(): Promise<void> {
    const { running } = await this.guests();
    await this.virshAll(running.map((uuid) => `destroy ${uuid}`));
  }

  /** As if nothing had happened since it was installed. All guests must be shut off. */
  async reset(): Promise<void> {
    const [{ all }, secrets] = [await this.guests(), await this.libvirt.secretsLeft()];
    await this.virshAll([
      ...all.map((uuid) => `undefine ${uuid} --managed-save`),
      ...secrets.map((uuid) => `secret-undefine ${uuid}`),
    ]);
    for (const path of ["/etc/luksmith", "/var/lib/luksmith", "/var/log/luksmith"])
      await empty(this.inside(path));
    await empty(this.images);
  }

  /** UUIDs of the guests. */
  async guests(): Promise<{ readonly running: string[]; readonly all: string[] }> {
    const lists = await this.libvirt.virsh("list --uuid; echo all; list --all --uuid");
    const [running = [], all = []] = lists
      .split("all")
      .map((list) => list.split("\n").filter((line) => line !== ""));
    return { running, all };
  }

  /** In one process: starting virsh takes longer than most of its commands. */
  private async virshAll(commands: readonly string[]): Promise<void> {
    if (commands.length > 0) await this.libvirt.virsh(commands.join("; "));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.libvirt.stop();
  }
}

/** What an administrator installs, as `npm pack` takes it from package.json. */
async function copyPlugin(target: string): Promise<void> {
  const manifest = await readFile(join(PROJECT, "package.json"), "utf8");
  const { files } = JSON.parse(manifest) as { files: string[] };
  if (!existsSync(join(PROJECT, "dist"))) throw new Error("there is no dist/: npm run build");
  for (const file of ["package.json", ...files]) {
    await cp(join(PROJECT, file), join(target, file), { recursive: true });
  }
}

/** The directory itself stays: it can be a mount point. */
async function empty(directory: string): Promise<void> {
  for (const name of await readdir(directory)) await rm(join(directory, name), { recursive: true });
}
