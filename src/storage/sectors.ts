const SECTOR = 512n;

/** Bytes up to the end of the last sector: QEMU counts one that a file has only begun as a whole one. */
export function wholeSectors(bytes: bigint): bigint {
  return roundUp(bytes, SECTOR);
}

/** `bytes` rounded up to a multiple of `unit`: what storage allocates. */
export function roundUp(bytes: bigint, unit: bigint): bigint {
  return ((bytes + unit - 1n) / unit) * unit;
}
