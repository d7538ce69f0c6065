import { randomUUID } from "node:crypto";
import { truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { LuksHeader } from "../../src/encryption/luks-header.js";
import type { LuksSpec } from "../../src/encryption/luks-spec.js";
import { NativeLuks } from "../../src/encryption/native-luks.js";
import { ExecaCommandRunner } from "../../src/exec/command-runner.js";
import type { KeyRecord } from "../../src/generated/key-record.js";
import { addEncryptionBlocks } from "../../src/guest-config/domain-annotator.js";
import { FileKeystore } from "../../src/keystore/file/file-keystore.js";
import { newKeyRecord } from "../../src/keystore/key-record.js";
import { type KeyUuid, newKeyUuid } from "../../src/keystore/key-uuid.js";
import { Secret } from "../../src/secret/secret.js";
import { createStorageRegistry } from "../../src/storage/index.js";
import { domainXml } from "../lab/test-domain.js";
import { places } from "./plugin.js";
import { runProgram } from "./program.js";
import { DEFAULT_STORAGE } from "../storage/default-storage.js";

const SIZE = 64 * 1024 * 1024;
const SPEC: LuksSpec = { format: "luks", cipher: "aes-xts-plain64", keySize: 512, hash: "sha256" };

export type ImageFormat = "raw" | "qcow2";

export interface ImageVolume {
  readonly kind: "file";
  readonly path: string;
  readonly format: ImageFormat;
}

/** Any volume that a LUKS header can be made on. */
export type StockVolume =
  ImageVolume | { readonly kind: "block"; readonly path: string; readonly format: "raw" };

/** `plain`: nobody asked; `pending`: protected, the next start formats it; `active`: formatted. */
export type State = "plain" | KeyRecord["state"];

export interface StockGuest {
  readonly name: string;
  /** As libvirt hands it to its hook. */
  readonly xml: string;
}

/** Makes guests and volumes with the plugin's own parts, in one process: quicker than with its commands. */
export class Stock implements Disposable {
  readonly places: ReturnType<typeof places>;
  readonly #keystore: FileKeystore;
  readonly #storage = createStorageRegistry(new ExecaCommandRunner(), DEFAULT_STORAGE);
  readonly #provider = new NativeLuks();
  readonly #defined = new Set<string>();

  constructor(dir: string) {
    this.places = places(dir);
    this.#keystore = new FileKeystore({ name: "local", type: "file", directory: this.places.keystore });
  }

  /** Defines a guest with so many new disks, of 64 MiB where nothing else is said. */
  async guest(state: State, count: number, format: ImageFormat = "raw", size = SIZE): Promise<StockGuest> {
    const name = `guest-${randomUUID()}`;
    const disks = Array.from({ length: count }, (_, index) => ({
      dev: deviceName(index),
      volume: this.volume(format, { size }),
    }));
    const uuid = randomUUID();
    const devices = disks.map(({ dev, volume }) => diskXml(dev, volume)).join("");
    let xml = domainXml({ name, uuid, devices });
    if (state !== "plain") {
      const keys = await Promise.all(
        disks.map(
          async ({ dev, volume }) => [dev, await this.key(state, volume, { id: uuid, name }, dev)] as const,
        ),
      );
      xml = addEncryptionBlocks(
        xml,
        new Map(keys.map(([dev, secretUuid]) => [dev, { format: "luks", secretUuid }])),
      );
    }
    const file = join(this.places.volumes, `${name}.xml`);
    writeFileSync(file, xml);
    virsh("define", file);
    this.#defined.add(name);
    return { name, xml: virsh("dumpxml", name) };
  }

  /** An empty volume, sparse as orchestrators make them. */
  volume(
    format: ImageFormat,
    {
      directory = this.places.volumes,
      size = SIZE,
    }: { readonly directory?: string; readonly size?: number } = {},
  ): ImageVolume {
    const path = join(directory, randomUUID());
    switch (format) {
      case "raw":
        writeFileSync(path, "");
        truncateSync(path, size);
        break;
      case "qcow2":
        runProgram({ argv: ["/usr/bin/qemu-img", "create", "-q", "-f", "qcow2", path, String(size)] });
    }
    return { kind: "file", path, format };
  }

  /** What one new disk costs: a key that survives a power cut; for `active` also the header, its proof, the record. */
  async key(
    state: KeyRecord["state"],
    volume: StockVolume,
    guest = { id: randomUUID(), name: "none" },
    disk = "vda",
  ): Promise<KeyUuid> {
    const uuid = newKeyUuid();
    const record = newKeyRecord({
      uuid,
      guest,
      disk,
      volume: volume.path,
      request: { ...SPEC, disk, profile: "default", keystore: "local", askedBy: ["the bench"] },
      now: new Date(),
    });
    using passphrase = Secret.randomPassphrase();
    await this.#keystore.store({ record, passphrase });
    switch (state) {
      case "pending":
      case "archived":
        break;
      case "active": {
        const backend = await this.#storage.backendFor(volume);
        await this.#provider.format(backend, { volume, uuid, spec: record.encryption, passphrase });
        await this.#keystore.update({ ...record, state });
      }
    }
    return uuid;
  }

  /** What the storage backend does of that: the header and its proof. */
  async header(volume: StockVolume, passphrase: Secret): Promise<LuksHeader> {
    const backend = await this.#storage.backendFor(volume);
    return await backend.createEncrypted({ volume, uuid: newKeyUuid(), spec: SPEC, passphrase });
  }

  undefine({ name }: StockGuest): void {
    virsh("undefine", name);
    this.#defined.delete(name);
  }

  [Symbol.dispose](): void {
    for (const name of this.#defined) virsh("undefine", name);
  }

  /** The caller disposes of it. */
  async passphrase(uuid: KeyUuid): Promise<Secret> {
    const key = await this.#keystore.fetch(uuid);
    if (key === undefined) throw new Error(`the keystore has no key ${uuid}`);
    return key.passphrase;
  }
}

/** As an administrator asks the private host's libvirtd. */
export function virsh(...args: readonly string[]): string {
  return runProgram({ argv: ["/usr/bin/virsh", "-q", "-c", "qemu:///system", ...args] });
}

/** `vda` to `vdz`, then `vdaa`. */
function deviceName(index: number): string {
  const letter = String.fromCharCode(97 + (index % 26));
  return index < 26 ? `vd${letter}` : `vd${String.fromCharCode(96 + Math.floor(index / 26))}${letter}`;
}

function diskXml(dev: string, { path, format }: ImageVolume): string {
  return `<disk type='file' device='disk'>
      <driver name='qemu' type='${format}'/>
      <source file='${path}'/>
      <target dev='${dev}' bus='virtio'/>
    </disk>`;
}
