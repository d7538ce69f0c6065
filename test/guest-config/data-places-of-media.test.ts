import { describe, expect, it } from "vitest";
import { domain, file, places, placesIn } from "./places-of-domain.js";

const CDROM = file("/iso/x.iso", "", "cdrom", "sda");

it.each([
  ["Nova's configuration drive", file("/i/disk.config"), ["medium plaintext /i/disk.config"]],
  [
    "an installation medium",
    file("/iso/debian-12.iso", "", "cdrom", "sda"),
    ["medium possible /iso/debian-12.iso"],
  ],
  ["a seed", file("/i/web1-cidata.iso", "", "cdrom", "sda"), ["medium plaintext /i/web1-cidata.iso"]],
  [
    "a floppy with answers",
    file("/i/autounattend.img", "", "floppy", "fda"),
    ["medium plaintext /i/autounattend.img"],
  ],
])("%s", (_, devices, expected) => {
  expect(places({ devices })).toEqual(expected);
});

it("a label says more than a name", () => {
  expect(placesIn(domain({ devices: CDROM }), { label: "CIDATA" })).toMatchObject([
    {
      kind: "medium",
      protection: "plaintext",
      detail: expect.stringContaining("sda (label CIDATA)") as unknown,
    },
  ]);
  expect(placesIn(domain({ devices: file("/a") }), { label: "config-2" })).toMatchObject([
    { kind: "medium" },
  ]);
  expect(placesIn(domain({ devices: CDROM }), { label: "Debian 12" })).toMatchObject([
    { kind: "medium", protection: "possible" },
  ]);
  expect(placesIn(domain({ devices: file("/a") }), { label: "data" })).toMatchObject([{ kind: "disk" }]);
});

describe("a configuration drive is taken out of what has it", () => {
  it.each([
    ["a guest that is shut off", {}, "change-media web1 sda --eject --config"],
    ["a running guest", { running: true }, "change-media web1 sda --eject --live --config"],
    [
      "a running guest whose definition has it no more",
      { running: true, definition: "live" },
      "change-media web1 sda --eject --live",
    ],
  ] as const)("a drive of %s", (_, look, command) => {
    const [place] = placesIn(domain({ devices: CDROM }), { ...look, label: "cidata" });
    expect(place?.hint).toBe(`once the guest has read it, eject it and delete the image: virsh ${command}`);
  });

  it.each([
    ["a guest that is shut off", {}, "", "--config"],
    ["a running guest", { running: true }, "shut the guest off, ", "--config"],
    ["the running guest alone", { running: true, definition: "live" }, "", "--live"],
  ] as const)("a disk of %s", (_, look, off, flag) => {
    const [place] = placesIn(domain({ devices: file("/i/disk.config") }), look);
    expect(place?.hint).toBe(
      `once the guest has read it, ${off}detach it and delete the image: virsh detach-disk web1 vda ${flag}`,
    );
  });
});
