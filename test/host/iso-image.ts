/** The start of an ISO 9660 image with this volume identifier: sixteen empty sectors and the primary volume descriptor. */
export function isoImage(label: string): Buffer {
  const image = Buffer.alloc(20 * 2048);
  image.write("\u0001CD001\u0001", 16 * 2048, "latin1");
  image.write(label.padEnd(32), 16 * 2048 + 40, "latin1");
  return image;
}
