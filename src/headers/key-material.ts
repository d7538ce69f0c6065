/** Different bytes in a sector of key material, at the least; text and padding have fewer. */
const VALUES = 128;

/** Whether a sector looks random, as key material does. Asked of thousands of sectors: it stops as soon as it knows. */
export function isRandom(sector: Buffer): boolean {
  const seen = new Uint8Array(256);
  let values = 0;
  for (const byte of sector) {
    if (seen[byte] === 1) continue;
    seen[byte] = 1;
    if (++values > VALUES) return true;
  }
  return false;
}
