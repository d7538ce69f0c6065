import { expect, it } from "vitest";
import { type HeaderTarget, writeContainerHeader } from "../../src/storage/container-header.js";
import { codeOf } from "./workshop.js";

const LENGTH = 4096;
const PLACE = { start: 512, length: LENGTH };

/** Bytes in memory that another host may write to as well. */
class SharedBytes implements HeaderTarget {
  readonly name = "/srv/vm/a.img";
  readonly bytes = Buffer.alloc(PLACE.start + LENGTH + 512, 0x11);
  readonly size = this.bytes.length;
  /** What the other host does at the next sync. */
  atSync: () => void = () => undefined;

  read(offset: number, length: number): Promise<Buffer> {
    return Promise.resolve(Buffer.from(this.bytes.subarray(offset, offset + length)));
  }
  write(offset: number, bytes: Buffer): Promise<void> {
    bytes.copy(this.bytes, offset);
    return Promise.resolve();
  }
  sync(): Promise<void> {
    this.atSync();
    return Promise.resolve();
  }
  isInPlace(): Promise<boolean> {
    return Promise.resolve(true);
  }
}

const sector = (fill: number) => Buffer.alloc(512, fill);

it("makes its change of what the header is, where another host has changed it meanwhile", async () => {
  const target = new SharedBytes();
  const seen: number[] = [];
  await writeContainerHeader(target, PLACE, (header) => {
    seen.push(header[0]!);
    if (seen.length === 1) sector(0x22).copy(target.bytes, PLACE.start);
    const changed = Buffer.from(header.subarray(0, 512));
    changed[511] = 0x33;
    return Promise.resolve([{ offset: 0, bytes: changed }]);
  });
  expect(seen).toEqual([0x11, 0x22]);
  const expected = sector(0x22);
  expected[511] = 0x33;
  expect(target.bytes.subarray(PLACE.start, PLACE.start + 512).equals(expected)).toBe(true);
});

it("writes nothing where the header never stays the same", async () => {
  const target = new SharedBytes();
  let times = 0;
  const changing = writeContainerHeader(target, PLACE, () => {
    target.bytes[PLACE.start + 1024] = ++times;
    return Promise.resolve([{ offset: 0, bytes: sector(0x33) }]);
  });
  expect(await codeOf(changing)).toBe("VOLUME_BUSY");
  expect(times).toBe(3);
  expect(target.bytes[PLACE.start]).toBe(0x11);
});

it("says so where another host has written between two of its pieces", async () => {
  const target = new SharedBytes();
  target.atSync = () => sector(0x44).copy(target.bytes, PLACE.start + 2048);
  const pieces = [sector(0x33), sector(0x34)].map((bytes, index) => ({ offset: index * 512, bytes }));
  const changing = writeContainerHeader(target, PLACE, () => Promise.resolve(pieces));
  expect(await codeOf(changing)).toBe("VOLUME_BUSY");
});

it("lets a later piece lie over an earlier one, and touches nothing else", async () => {
  const target = new SharedBytes();
  const before = Buffer.from(target.bytes);
  const pieces = [Buffer.alloc(1024, 0x33), sector(0x34)].map((bytes) => ({ offset: 512, bytes }));
  await writeContainerHeader(target, PLACE, () => Promise.resolve(pieces));
  Buffer.alloc(512, 0x34).copy(before, PLACE.start + 512);
  Buffer.alloc(512, 0x33).copy(before, PLACE.start + 1024);
  expect(target.bytes.equals(before)).toBe(true);
});
