import { expect, it } from "vitest";
import { toCsv } from "../../src/status/csv.js";
import { disk, guest, KEY, PROTECTED } from "./guests.js";

const NOW = new Date("2026-03-11T12:00:00Z");
const COPIED = disk({ ...PROTECTED, sameVolumeKey: ["web2 vda", "web3 vda"] });
const LOST = disk({
  device: "vdc",
  protection: "unknown",
  problem: { code: "KEY_NOT_FOUND", what: "its key is in no keystore" },
});
const linesOf = (csv: string) => csv.split("\r\n");

it("has a heading, a line for each disk and one for a guest that cannot be read", () => {
  const problem = { code: "GUEST_NOT_FOUND", what: "gone" };
  const [heading, first, second, lost, third, ...rest] = linesOf(
    toCsv(
      { guests: [guest({ disks: [COPIED, disk({ device: "vdb" }), LOST] }), guest({ id: "g-2", problem })] },
      NOW,
    ),
  );
  expect(heading).toBe(
    "guest_id,guest,running,disk,volume,asked_by,verdict,format,cipher,key_size,opened_by,key,keystore," +
      "key_from_cache,key_created_at,key_rotated_at,key_age_days,keyslots,recovery,header_copy_at,last_drill_at," +
      "last_drill,copy_of,same_volume_key,plaintext_places,problem",
  );
  expect(first).toBe(
    `g-1,web1,false,vda,/srv/vm/a.img,rule a; flavor,protected,luks,aes-xts-plain64,512,native,${KEY},local,false,` +
      "2026-01-01T00:00:00.000Z,2026-03-01T12:00:00.000Z,10,2,recipients,2026-03-01T12:00:01.000Z," +
      "2026-03-02T00:00:00.000Z,passed,,web2 vda; web3 vda,0,",
  );
  expect(second).toBe("g-1,web1,false,vdb,/srv/vm/a.img,,plain,,,,,,,,,,,,,,,,,,0,");
  expect(lost).toBe("g-1,web1,false,vdc,/srv/vm/a.img,,unproven,,,,,,,,,,,,,,,,,,0,KEY_NOT_FOUND");
  expect(third).toBe("g-2,web1,false,,,,unproven,,,,,,,,,,,,,,,,,,0,GUEST_NOT_FOUND");
  expect(rest).toEqual([""]);
});

it("keeps every line a line, and every cell a text, whatever a guest is called", () => {
  const names = ['a,"b"', "line\r\nbreak", "=1+1", "@x", "-2", "+3", "\u001b[31mred"];
  const csv = toCsv({ guests: names.map((name) => guest({ name })) }, NOW);
  const cells = linesOf(csv)
    .slice(1, -1)
    .map((line) => line.slice("g-1,".length));
  expect(cells).toHaveLength(names.length);
  expect(cells[0]).toMatch(/^"a,""b""",false,/);
  for (const cell of cells) expect(cell).not.toMatch(/^[=@+-]|\p{Cc}/u);
  expect(cells[2]).toMatch(/^'=1\+1,/);
});

it("counts places in plaintext besides disks", () => {
  const place = (kind: "disk" | "nvram", protection: "plaintext" | "possible") => ({
    kind,
    protection,
    detail: "x",
  });
  const dataPlaces = [place("disk", "plaintext"), place("nvram", "plaintext"), place("nvram", "possible")];
  expect(linesOf(toCsv({ guests: [guest({ dataPlaces })] }, NOW))[1]).toMatch(/,1,$/);
});
