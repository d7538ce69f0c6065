import { expect, it } from "vitest";
import { diskInfoFromDomain } from "../../src/disk-info/from-domain-xml.js";
import { dataPlacesOfBackup, dataPlacesOfSnapshot } from "../../src/guest-config/data-places-of-snapshots.js";
import { parseDomain } from "../../src/guest-config/domain.js";
import { BLOCK, domain, ID } from "./places-of-domain.js";

const disks = (inside: string) =>
  diskInfoFromDomain(
    parseDomain(
      domain({
        devices: `<disk type='file'><source file='/a'>${inside}</source><target dev='vda'/></disk>`,
      }),
    ),
  );
const snapshot = (memory: string, disk: string) =>
  `<domainsnapshot><name>s '1</name>${memory}<disks>${disk}</disks></domainsnapshot>`;
const of = (xml: string, inside = BLOCK) =>
  dataPlacesOfSnapshot(xml, { id: ID }, disks(inside)).map(
    ({ kind, protection, where = "" }) => `${kind} ${protection} ${where}`,
  );

it("names memory and overlays in files of their own", () => {
  const overlay = "<disk name='vda' snapshot='external' type='file'><source file='/a.s1'/></disk>";
  expect(of(snapshot("<memory snapshot='external' file='/m'/>", overlay))).toEqual([
    "snapshot-memory plaintext /m",
    "disk plaintext /a.s1",
  ]);
});

it("takes memory inside of an image for as safe as the disk", () => {
  const xml = snapshot("<memory snapshot='internal'/>", "<disk name='vda' snapshot='internal'/>");
  expect(of(xml)).toEqual(["snapshot-memory encrypted "]);
  expect(of(xml, "")).toEqual(["snapshot-memory plaintext "]);
  expect(of(snapshot("<memory snapshot='internal'/>", ""))).toEqual(["snapshot-memory plaintext "]);
});

it("says nothing of a snapshot without memory, and pastes names safely", () => {
  expect(of(snapshot("<memory snapshot='no'/>", "<disk name='vda' snapshot='internal'/>"))).toEqual([]);
  const [place] = dataPlacesOfSnapshot(
    snapshot("<memory snapshot='external' file='/m'/>", ""),
    { id: ID },
    disks(""),
  );
  expect(place?.hint).toContain(`virsh snapshot-delete ${ID} --snapshotname 's '\\''1'`);
});

it("names the targets of a running backup", () => {
  const xml = `<domainbackup mode='push'><disks><disk name='vda' backup='yes' type='file'><target file='/b'/></disk>
      <disk name='vdb' backup='no'/><disk name='vdc' type='file'><target file='/c'>${BLOCK}</target></disk></disks></domainbackup>`;
  expect(dataPlacesOfBackup(xml).map(({ where, protection }) => [where, protection])).toEqual([
    ["/b", "plaintext"],
    ["/c", "encrypted"],
  ]);
});

it("has no path where none is told", () => {
  const [place] = dataPlacesOfSnapshot(snapshot("<memory snapshot='external'/>", ""), { id: ID }, disks(""));
  expect(place).toMatchObject({ kind: "snapshot-memory", protection: "plaintext" });
  expect(place).not.toHaveProperty("where");
});
