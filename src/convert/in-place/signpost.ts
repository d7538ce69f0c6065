import {
  createCipheriv,
  createDecipheriv,
  createHmac,
  randomBytes,
  scryptSync,
  timingSafeEqual,
} from "node:crypto";
import type { KeyUuid } from "../../keystore/key-uuid.js";
import { Secret } from "../../secret/secret.js";
import { type Progress, SIGNPOST_LENGTH } from "./geometry.js";

export type ConversionTo = "encrypted" | "plain";

const MAGIC = Buffer.from("LUKSMITH MOVING\0", "latin1");
const VERSION = 1;
const DIRECTIONS: readonly ConversionTo[] = ["encrypted", "plain"];

/** Where the fields stand; numbers are little-endian. What is before MAC is authenticated by it. */
const AT = {
  version: 16,
  to: 20,
  payload: 24,
  mark: 32,
  uuid: 40,
  keyLength: 80,
  salt: 84,
  iv: 112,
  tag: 128,
  key: 144,
  mac: 480,
  end: 512,
};
const SALT = AT.iv - AT.salt;
const IV = 12;
const TAG = AT.key - AT.tag;
const LONGEST_KEY = 64;

/** For passphrases that are not 512 random bits: a moment's work, once for a conversion. */
const STRETCHING = { N: 2 ** 14, r: 8, p: 1 };

/**
 * What stands on a volume while its payload is moved: whose it is, how far it is, and the volume key, encrypted under the
 * key's passphrase. With that passphrase alone, a volume tells all that is needed to go on, on any host. Nobody else can
 * make one: a guest that writes what looks like one onto its disk does not have the passphrase.
 */
export class Signposts implements Disposable {
  readonly #sealed: Buffer;

  private constructor(
    readonly uuid: KeyUuid,
    /** The sealed volume key and its salt, as they stand in every signpost of this conversion. */
    sealed: Buffer,
    private readonly mac: Secret,
    /** Of the container that is made, or taken away. */
    readonly volumeKey: Secret,
  ) {
    this.#sealed = sealed;
  }

  /** For a conversion that begins. Takes over `volumeKey`. */
  static seal(uuid: KeyUuid, passphrase: Secret, volumeKey: Secret): Signposts {
    const sealed = Buffer.alloc(AT.end);
    randomBytes(SALT).copy(sealed, AT.salt);
    randomBytes(IV).copy(sealed, AT.iv);
    const { seal, mac } = keysOf(passphrase, saltOf(sealed));
    using sealing = seal;
    volumeKey.use((key) => {
      sealed.writeUInt32LE(key.length, AT.keyLength);
      const cipher = sealing.use((bytes) => createCipheriv("aes-256-gcm", bytes, ivOf(sealed)));
      cipher.update(key).copy(sealed, AT.key);
      cipher.final();
      cipher.getAuthTag().copy(sealed, AT.tag);
    });
    return new Signposts(uuid, sealed, mac, volumeKey);
  }

  /** The one that `bytes` are, if they are one of this key. */
  static open(
    uuid: KeyUuid,
    passphrase: Secret,
    bytes: Buffer,
  ): { readonly signposts: Signposts; readonly progress: Progress } | undefined {
    if (!claims(bytes, uuid)) return undefined;
    const { seal, mac } = keysOf(passphrase, saltOf(bytes));
    using sealing = seal;
    const progress = progressOf(bytes, mac);
    const length = bytes.readUInt32LE(AT.keyLength);
    if (progress === undefined || length > LONGEST_KEY) {
      mac.dispose();
      return undefined;
    }
    const decipher = sealing.use((key) => createDecipheriv("aes-256-gcm", key, ivOf(bytes)));
    decipher.setAuthTag(bytes.subarray(AT.tag, AT.tag + TAG));
    const volumeKey = Secret.own(decipher.update(bytes.subarray(AT.key, AT.key + length)));
    decipher.final();
    return {
      signposts: new Signposts(uuid, Buffer.from(bytes.subarray(0, AT.end)), mac, volumeKey),
      progress,
    };
  }

  /** The same bytes for the same progress. */
  bytes({ to, payload, mark }: Progress): Buffer {
    const bytes = Buffer.alloc(SIGNPOST_LENGTH);
    this.#sealed.copy(bytes);
    MAGIC.copy(bytes);
    bytes.writeUInt32LE(VERSION, AT.version);
    bytes.writeUInt32LE(DIRECTIONS.indexOf(to), AT.to);
    bytes.writeBigUInt64LE(BigInt(payload), AT.payload);
    bytes.writeBigUInt64LE(BigInt(mark), AT.mark);
    bytes.write(this.uuid, AT.uuid, "latin1");
    macOf(bytes, this.mac).copy(bytes, AT.mac);
    return bytes;
  }

  /** How far the conversion was when these bytes were written; undefined for any other bytes. */
  read(bytes: Buffer): Progress | undefined {
    if (!claims(bytes, this.uuid) || !saltOf(bytes).equals(saltOf(this.#sealed))) return undefined;
    return progressOf(bytes, this.mac);
  }

  [Symbol.dispose](): void {
    this.mac.dispose();
    this.volumeKey.dispose();
  }
}

/** Whether it is worth a closer look: nothing is proven by it. */
export function claims(bytes: Buffer, uuid: KeyUuid): boolean {
  if (bytes.length < AT.end || !bytes.subarray(0, MAGIC.length).equals(MAGIC)) return false;
  if (bytes.readUInt32LE(AT.version) !== VERSION) return false;
  return bytes.toString("latin1", AT.uuid, AT.uuid + uuid.length) === uuid;
}

function progressOf(bytes: Buffer, key: Secret): Progress | undefined {
  if (!timingSafeEqual(macOf(bytes, key), bytes.subarray(AT.mac, AT.end))) return undefined;
  const to = DIRECTIONS[bytes.readUInt32LE(AT.to)];
  if (to === undefined) return undefined;
  return {
    to,
    payload: Number(bytes.readBigUInt64LE(AT.payload)),
    mark: Number(bytes.readBigUInt64LE(AT.mark)),
  };
}

function macOf(bytes: Buffer, key: Secret): Buffer {
  return key.use((mac) => createHmac("sha256", mac).update(bytes.subarray(0, AT.mac)).digest());
}

function keysOf(passphrase: Secret, salt: Buffer): { readonly seal: Secret; readonly mac: Secret } {
  const both = passphrase.use((bytes) => scryptSync(bytes, salt, 64, STRETCHING));
  const keys = { seal: copyOf(both, 0), mac: copyOf(both, 32) };
  both.fill(0);
  return keys;
}

function copyOf(bytes: Buffer, from: number): Secret {
  return Secret.own(Buffer.from(bytes.subarray(from, from + 32)));
}

function saltOf(bytes: Buffer): Buffer {
  return bytes.subarray(AT.salt, AT.salt + SALT);
}

function ivOf(bytes: Buffer): Buffer {
  return bytes.subarray(AT.iv, AT.iv + IV);
}
