import { expect, it } from "vitest";
import { thinLayout, thinMapping, thinPoolTrouble } from "../../../src/storage/lvm/thin-pool.js";
import { FakeLvm } from "../../fake/fake-lvm.js";
import { RecordingCommandRunner } from "../../fake/recording-command-runner.js";

const POOL = { number: "254:3", name: "vg/pool" };

const answering = (line: string) => new RecordingCommandRunner(new FakeLvm({ dmsetup: [`${line} \n`] }));

it.each([
  ["0 24576 thin 0 -", 0],
  ["0 24576 thin 512 511", 512 * 512],
  ["0 24576 thin 128 24575", 24576 * 512],
  ["0 24576 thin Fail", undefined],
  ["0 24576 snapshot-origin", undefined],
  ["0 24576 linear", undefined],
  ["0 128 thin 0 -\n128 128 thin 0 -", undefined],
  ["", undefined],
])("the thin device %j has blocks up to byte %s", async (line, end) => {
  const runner = answering(line);
  expect((await thinMapping(runner, "254:5"))?.end).toBe(end);
  expect(runner.lines).toEqual(["dmsetup status --noflush --major 254 --minor 5"]);
});

const MODES = "discard_passdown queue_if_no_space";
it.each([
  [`1 112/1024 0/128 - rw ${MODES} - 256`, undefined],
  [`1 112/1024 124/128 - rw no_discard_passdown error_if_no_space - 256`, undefined],
  [`1 112/1024 125/128 - rw ${MODES} - 256`, "is full: 3 of its blocks are free"],
  [`1 112/1024 128/128 - out_of_data_space ${MODES} - 256`, "is full: 0 of its blocks are free"],
  [`1 960/1024 0/128 - rw ${MODES} - 256`, undefined],
  [`1 961/1024 0/128 - rw ${MODES} - 256`, "is full: 63 of its metadata blocks are free"],
  [`1 112/1024 0/128 - ro ${MODES} - 256`, "is read-only"],
  [`1 112/1024 0/128 - ro ${MODES} needs_check 256`, "must be repaired first: lvconvert --repair vg/pool"],
  [`1 112/1024 0/128 77 rw ${MODES} - 256`, undefined],
  ["Fail", "has failed"],
  ["Error", "has failed"],
])("the pool's status %j means: %s", async (status, trouble) => {
  const found = await thinPoolTrouble(answering(`0 131072 thin-pool ${status}`), POOL);
  expect(found).toBe(trouble && `thin pool vg/pool ${trouble}`);
});

it("reads how large blocks are, and whether they are cleared", async () => {
  const clearing = answering("0 131072 thin-pool 254:1 254:2 128 0 0");
  expect(await thinLayout(clearing, POOL)).toEqual({ blockSize: 65536, clears: true });
  expect(clearing.lines).toEqual(["dmsetup table --major 254 --minor 3"]);
  const other = answering("0 131072 thin-pool 254:1 254:2 2048 0 2 skip_block_zeroing error_if_no_space");
  expect(await thinLayout(other, POOL)).toEqual({ blockSize: 1024 * 1024, clears: false });
});
