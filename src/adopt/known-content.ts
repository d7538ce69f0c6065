/** Bytes from a disk's start that are enough to find every content below. */
export const START = 128 * 1024;

interface Content {
  readonly name: string;
  readonly at: number;
  readonly magic: Buffer;
  /** For a magic so short that chance alone would bring it now and then. */
  readonly isPlausible?: (start: Buffer) => boolean;
}

/** Where and with what each begins, as blkid(8) knows it too, which would want to read a file or a device. */
const CONTENTS: readonly Content[] = [
  { name: "GPT partition table", at: 512, magic: latin1("EFI PART") },
  { name: "MBR partition table", at: 510, magic: Buffer.of(0x55, 0xaa), isPlausible: hasPartitionEntries },
  { name: "ext file system", at: 1080, magic: Buffer.of(0x53, 0xef), isPlausible: hasExtSuperblock },
  { name: "xfs file system", at: 0, magic: latin1("XFSB") },
  { name: "btrfs file system", at: 65_600, magic: latin1("_BHRfS_M") },
  { name: "f2fs file system", at: 1024, magic: Buffer.of(0x10, 0x20, 0xf5, 0xf2) },
  { name: "ntfs file system", at: 3, magic: latin1("NTFS    ") },
  { name: "vfat file system", at: 82, magic: latin1("FAT32   ") },
  { name: "vfat file system", at: 54, magic: latin1("FAT16   ") },
  { name: "ISO 9660 file system", at: 32_769, magic: latin1("CD001") },
  { name: "swap space", at: 4086, magic: latin1("SWAPSPACE2") },
  { name: "LVM physical volume", at: 512, magic: latin1("LABELONE") },
  { name: "LUKS header", at: 0, magic: latin1("LUKS\xba\xbe") },
  { name: "qcow2 image", at: 0, magic: latin1("QFI\xfb") },
];

/**
 * What a disk's first START bytes show, in words; undefined where nothing known was found. Looks at memory alone, so
 * that what was decrypted for it need not be anywhere else. What was decrypted with a wrong key is random, and is taken
 * for something known about once in a hundred million times.
 */
export function knownContent(start: Buffer): string | undefined {
  return CONTENTS.find(
    ({ at, magic, isPlausible }) =>
      start.subarray(at, at + magic.length).equals(magic) && (isPlausible?.(start) ?? true),
  )?.name;
}

/** Four entries of 16 bytes, each active or not, and nothing else in its first byte. */
function hasPartitionEntries(start: Buffer): boolean {
  return [446, 462, 478, 494].every((at) => start[at] === 0x00 || start[at] === 0x80);
}

/** Its block size, revision and state are small numbers. */
function hasExtSuperblock(start: Buffer): boolean {
  const field = (at: number) => start.readUInt32LE(1024 + at);
  return field(24) <= 6 && field(76) <= 1 && start.readUInt16LE(1024 + 58) <= 7;
}

function latin1(text: string): Buffer {
  return Buffer.from(text, "latin1");
}
