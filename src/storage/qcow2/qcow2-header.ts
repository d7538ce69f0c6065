/** The header of a qcow2 image, as far as we need to know it. */
export interface Qcow2Header {
  readonly version: 2 | 3;
  /** Bytes that the guest sees. */
  readonly size: number;
  readonly clusterSize: number;
  readonly refcountBits: number;
  readonly refcountTable: { readonly offset: number; readonly clusters: number };
  readonly l1Table: { readonly offset: number; readonly entries: number };
  readonly lazyRefcounts: boolean;
  readonly extendedL2: boolean;
  readonly compression: "zlib" | "zstd";
  readonly encryption: Qcow2Encryption;
  /** Undefined for an image that is no overlay. */
  readonly backing: Qcow2Backing | undefined;
  readonly snapshots: number;
  readonly persistentBitmaps: boolean;
  readonly externalDataFile: boolean;
  /** Where the header extensions begin, which is the length of the header without them, and where they end. */
  readonly extensions: { readonly offset: number; readonly end: number };
}

/** What an overlay says about its base, as bytes: neither need be text. */
export interface Qcow2Backing {
  readonly name: Buffer;
  /** Undefined in images of old tools: whoever opens the base guesses. */
  readonly format: Buffer | undefined;
}

export type Qcow2Encryption =
  | { readonly kind: "none" }
  /** QEMU's old own way, which it no longer runs guests on. */
  | { readonly kind: "aes" }
  /** The LUKS header with its keyslots, as bytes of the file. */
  | { readonly kind: "luks"; readonly offset: number; readonly length: number };

export type Qcow2HeaderAnswer =
  | { readonly kind: "qcow2"; readonly header: Qcow2Header }
  /** No qcow2 magic. */
  | { readonly kind: "none" }
  | { readonly kind: "bad"; readonly reason: string };

/** Bytes of the file's start that hold the header and its extensions in every image that tools make. */
export const QCOW2_HEADER_AREA = 65_536;
/** The field crypt_method, and its value for LUKS. */
export const CRYPT_METHOD_OFFSET = 32;
export const CRYPT_LUKS = 2;
/** The fields backing_file_offset (64 bits) and backing_file_size (32 bits). */
export const BACKING_FILE_OFFSET = 8;
export const BACKING_FILE_SIZE_OFFSET = 16;
/** Header extension "full disk encryption header pointer". */
export const EXTENSION_ENCRYPTION = 0x0537be77;
/** Header extension "backing file format name". */
export const EXTENSION_BACKING_FORMAT = 0xe2792aca;

const MAGIC = 0x514649fb;
const EXTENSION_BITMAPS = 0x23852875;
/** QEMU's limit for the name of a backing file. */
const LONGEST_NAME = 1023;
const V2_LENGTH = 72;
const V3_LENGTH = 104;
const INCOMPATIBLE = { dirty: 1n, corrupt: 2n, externalData: 4n, compression: 8n, extendedL2: 16n };
const KNOWN = Object.values(INCOMPATIBLE).reduce((all, bit) => all | bit);
const LAZY_REFCOUNTS = 1n;

/**
 * Reads a qcow2 header (QEMU's docs/interop/qcow2, "Header" and "Header extensions") from the first QCOW2_HEADER_AREA
 * bytes of a file. Never throws. `bad` is what QEMU would refuse, and what this reader does not know.
 */
export function readQcow2Header(bytes: Buffer): Qcow2HeaderAnswer {
  if (bytes.length < 4 || bytes.readUInt32BE(0) !== MAGIC) return { kind: "none" };
  if (bytes.length < V3_LENGTH) return bad("the qcow2 header is cut off");
  const version = bytes.readUInt32BE(4);
  if (version !== 2 && version !== 3) return bad(`qcow2 version ${version} is not known`);
  const clusterBits = bytes.readUInt32BE(20);
  if (clusterBits < 9 || clusterBits > 21) return bad("the qcow2 header has an impossible cluster size");
  const clusterSize = 2 ** clusterBits;
  const size = Number(bytes.readBigUInt64BE(24));
  if (!Number.isSafeInteger(size)) return bad("the qcow2 header has an impossible size");

  const added = version === 2 ? V2_FIELDS : readV3Fields(bytes);
  if (typeof added === "string") return bad(added);
  const { features, compatible, extensionsOffset, ...fields } = added;
  const extensions = readExtensions(bytes, extensionsOffset, clusterSize);
  if (extensions === undefined) return bad("the qcow2 header extensions are cut off");
  const encryption = readEncryption(bytes, extensions.byType, clusterSize);
  if (encryption === undefined) return bad("the qcow2 header says that it is encrypted, and not how");
  const backing = readBacking(bytes, extensions, clusterSize);
  if (backing === "bad") return bad("the qcow2 header has an impossible backing file name");
  const header: Qcow2Header = {
    ...{ version, size, clusterSize, encryption, backing, ...fields },
    refcountTable: { offset: Number(bytes.readBigUInt64BE(48)), clusters: bytes.readUInt32BE(56) },
    l1Table: { offset: Number(bytes.readBigUInt64BE(40)), entries: bytes.readUInt32BE(36) },
    lazyRefcounts: (compatible & LAZY_REFCOUNTS) !== 0n,
    extendedL2: (features & INCOMPATIBLE.extendedL2) !== 0n,
    externalDataFile: (features & INCOMPATIBLE.externalData) !== 0n,
    snapshots: bytes.readUInt32BE(60),
    persistentBitmaps: extensions.byType.has(EXTENSION_BITMAPS),
    extensions: { offset: extensionsOffset, end: extensions.end },
  };
  return { kind: "qcow2", header };
}

/** What version 3 has added. */
interface AddedFields {
  readonly features: bigint;
  readonly compatible: bigint;
  readonly refcountBits: number;
  readonly extensionsOffset: number;
  readonly compression: "zlib" | "zstd";
}

const V2_FIELDS: AddedFields = {
  ...{ features: 0n, compatible: 0n },
  ...{ refcountBits: 16, extensionsOffset: V2_LENGTH, compression: "zlib" },
};

function readV3Fields(bytes: Buffer): AddedFields | string {
  const features = bytes.readBigUInt64BE(72);
  if ((features & INCOMPATIBLE.corrupt) !== 0n) return "the qcow2 image is marked as corrupt";
  if ((features & ~KNOWN) !== 0n) return "the qcow2 image has features that are not known";
  const refcountOrder = bytes.readUInt32BE(96);
  if (refcountOrder > 6) return "the qcow2 header has an impossible refcount width";
  const extensionsOffset = bytes.readUInt32BE(100);
  if (extensionsOffset < V3_LENGTH || extensionsOffset % 8 !== 0)
    return "the qcow2 header has an impossible length";
  const compression = (features & INCOMPATIBLE.compression) === 0n ? 0 : (bytes[V3_LENGTH] ?? 0);
  if (compression > 1) return "the qcow2 image has a compression that is not known";
  return {
    ...{ features, compatible: bytes.readBigUInt64BE(80) },
    ...{
      refcountBits: 2 ** refcountOrder,
      extensionsOffset,
      compression: compression === 0 ? "zlib" : "zstd",
    },
  };
}

interface Extensions {
  readonly byType: ReadonlyMap<number, Buffer>;
  /** Where the mark of their end stands. */
  readonly end: number;
}

/** Undefined if the first cluster, or the backing file's name, begins within them. */
function readExtensions(bytes: Buffer, offset: number, clusterSize: number): Extensions | undefined {
  const backing = Number(bytes.readBigUInt64BE(BACKING_FILE_OFFSET));
  const limit = Math.min(bytes.length, clusterSize, backing || clusterSize);
  const byType = new Map<number, Buffer>();
  let at = offset;
  while (at + 8 <= limit) {
    const type = bytes.readUInt32BE(at);
    if (type === 0) return { byType, end: at };
    const length = bytes.readUInt32BE(at + 4);
    if (at + 8 + length > limit) return undefined;
    byType.set(type, bytes.subarray(at + 8, at + 8 + length));
    at += 8 + Math.ceil(length / 8) * 8;
  }
  return at === limit ? { byType, end: at } : undefined;
}

function readEncryption(
  bytes: Buffer,
  extensions: ReadonlyMap<number, Buffer>,
  clusterSize: number,
): Qcow2Encryption | undefined {
  const method = bytes.readUInt32BE(CRYPT_METHOD_OFFSET);
  if (method === 0) return { kind: "none" };
  if (method === 1) return { kind: "aes" };
  const pointer = extensions.get(EXTENSION_ENCRYPTION);
  if (method !== CRYPT_LUKS || pointer?.length !== 16) return undefined;
  const offset = Number(pointer.readBigUInt64BE(0));
  const length = Number(pointer.readBigUInt64BE(8));
  const isPossible =
    offset > 0 && offset % clusterSize === 0 && length > 0 && Number.isSafeInteger(offset + length);
  return isPossible ? { kind: "luks", offset, length } : undefined;
}

function readBacking(
  bytes: Buffer,
  { byType, end }: Extensions,
  clusterSize: number,
): Qcow2Backing | "bad" | undefined {
  const offset = Number(bytes.readBigUInt64BE(BACKING_FILE_OFFSET));
  if (offset === 0) return undefined;
  const length = bytes.readUInt32BE(BACKING_FILE_SIZE_OFFSET);
  const isInside = offset >= end && offset + length <= Math.min(bytes.length, clusterSize);
  if (!isInside || length === 0 || length > LONGEST_NAME) return "bad";
  return { name: bytes.subarray(offset, offset + length), format: byType.get(EXTENSION_BACKING_FORMAT) };
}

function bad(reason: string): Qcow2HeaderAnswer {
  return { kind: "bad", reason };
}
