import type { LuksHeader } from "../encryption/luks-header.js";

const SECTOR = 512n;

/** Bytes up to the end of the last sector: QEMU counts one that a file has only begun as a whole one. */
export function wholeSectors(bytes: bigint): bigint {
  return roundUp(bytes, SECTOR);
}

/** `bytes` rounded up to a multiple of `unit`: what storage allocates. */
export function roundUp(bytes: bigint, unit: bigint): bigint {
  return ((bytes + unit - 1n) / unit) * unit;
}

/** Bytes that are encrypted at once, of which a guest's disk has whole ones only. */
export function cryptSector(header: LuksHeader): bigint {
  return header.version === 2 ? BigInt(header.sectorSize) : SECTOR;
}

/**
 * Bytes that the guest sees of a raw volume with this header at its start. QEMU, which opens LUKS1, shows a sector that
 * the volume only begins; dm-crypt shows none.
 */
export function payloadSize(volumeSize: bigint, header: LuksHeader): bigint {
  const sector = cryptSector(header);
  const bytes = volumeSize - BigInt(header.payloadOffset);
  return header.version === 2 ? bytes - (bytes % sector) : wholeSectors(bytes);
}
