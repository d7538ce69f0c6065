import { linkSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { DiskMapping } from "../../src/disk-info/disk-info.js";
import { LuksmithError } from "../../src/error/luksmith-error.js";
import type { Guest } from "../../src/host/host-adapter.js";
import { findConfiguredUser, findVolumeUser } from "../../src/plan/volume-users.js";
import type { Volume } from "../../src/storage/volume.js";
import { temporaryDirectory } from "../fs/tree.js";
import { claim, disk, guestWith, mapped, uuid } from "./builders.js";

const OWN = guestWith(disk("vda"));
const OTHER_ID = "99999999-2222-4333-8444-555555555555";

/** A host on which, besides, another guest runs with these disks. */
function hostWith(...disks: DiskMapping[]) {
  const other: Guest = { ...guestWith(...disks), id: OTHER_ID, name: "web2" };
  return {
    listGuests: () =>
      Promise.resolve([
        { id: OWN.id, name: OWN.name, running: true },
        { id: OTHER_ID, name: "web2", running: true },
      ]),
    readRunningGuest: ({ id }: Pick<Guest, "id">) => Promise.resolve(id === OTHER_ID ? other : OWN),
  };
}

const raw = (path: string): Volume => ({ kind: "file", path, format: "raw" });
const on = (volume: Volume, n?: number) => disk("vdq", n, { volume });
const wanted = (volume: Volume, n?: number) => ({
  dev: "vdb",
  volume,
  uuid: n === undefined ? undefined : uuid(n),
});
const found = (by: "volume" | "key") => ({ guest: "web2", disk: "vdq", by });

describe("the user of a volume", () => {
  it.each<[string, (path: string, other: string) => void]>([
    ["the same path", () => undefined],
    ["a hard link", linkSync],
    ["a symbolic link", (path, other) => symlinkSync(path, other)],
  ])("is known by %s", async (how, link) => {
    const path = join(temporaryDirectory(), "a.img");
    writeFileSync(path, "");
    link(path, `${path}.other`);
    const name = how === "the same path" ? path : `${path}.other`;
    expect(await findVolumeUser(hostWith(on(raw(path))), OWN, wanted(raw(name)))).toEqual(found("volume"));
    expect(await findVolumeUser(hostWith(on(raw(`${path}.none`))), OWN, wanted(raw(name)))).toBe(undefined);
  });

  it("is known by the name of an RBD image, and of a volume that is not there", async () => {
    const image = { kind: "rbd", pool: "vms", image: "a", format: "raw" } as const;
    expect(await findVolumeUser(hostWith(on({ ...image, user: "u" })), OWN, wanted(image))).toEqual(
      found("volume"),
    );
    expect(await findVolumeUser(hostWith(on({ ...image, image: "b" })), OWN, wanted(image))).toBe(undefined);
    expect(await findVolumeUser(hostWith(on(raw("/none"))), OWN, wanted(raw("/none")))).toEqual(
      found("volume"),
    );
  });

  it.each<[string, DiskMapping]>([
    ["its own volume", on(raw("/none/copy"), 7)],
    ["a volume under it", disk("vdq", 8, { backingSecretUuids: [uuid(7)] })],
    ["its mapping", { ...mapped("vdq", 7, "active", undefined).disk }],
    [
      "a mapping under which its configuration does not tell what lies",
      on({ kind: "block", path: `/dev/mapper/${claim("vdq", 7).name}`, format: "raw" }),
    ],
  ])("is known by the key of %s", async (_, other) => {
    expect(await findVolumeUser(hostWith(other), OWN, wanted(raw("/none/original"), 7))).toEqual(
      found("key"),
    );
    expect(await findVolumeUser(hostWith(other), OWN, wanted(raw("/none/original"), 6))).toBe(undefined);
  });

  it("is the guest itself, under another device name only", async () => {
    const own = guestWith(disk("vdq", 7));
    const { volume } = disk("vdq");
    expect(await findVolumeUser(hostWith(), own, wanted(volume))).toEqual({
      ...found("volume"),
      guest: "web1",
    });
    expect(await findVolumeUser(hostWith(), own, { dev: "vdq", volume, uuid: uuid(7) })).toBe(undefined);
  });

  it("is none that has gone while the guests were read, and unknown while one cannot be read", async () => {
    const failing = (code: "GUEST_NOT_FOUND" | "HOST_UNAVAILABLE") => ({
      ...hostWith(),
      readRunningGuest: () => Promise.reject(new LuksmithError(code, { what: "no" })),
    });
    const volume = raw("/none");
    expect(await findVolumeUser(failing("GUEST_NOT_FOUND"), OWN, wanted(volume))).toBe(undefined);
    await expect(findVolumeUser(failing("HOST_UNAVAILABLE"), OWN, wanted(volume))).rejects.toMatchObject({
      code: "HOST_UNAVAILABLE",
    });
  });
});

describe("the user of a volume by its configuration", () => {
  const configured = (...disks: DiskMapping[]) => ({
    ...hostWith(...disks),
    readGuest: (id: string) =>
      id === OTHER_ID
        ? Promise.resolve({ ...guestWith(...disks), id, name: "web2", running: false, saved: false })
        : Promise.reject(new LuksmithError("GUEST_NOT_FOUND", { what: "it is transient" })),
  });

  it("is found although it is shut off, by the volume or its key", async () => {
    const host = configured(on(raw("/a"), 7));
    expect(await findConfiguredUser(host, OWN, wanted(raw("/a")))).toEqual(found("volume"));
    expect(await findConfiguredUser(host, OWN, wanted(raw("/b"), 7))).toEqual(found("key"));
    expect(await findConfiguredUser(host, OWN, wanted(raw("/b"), 8))).toBe(undefined);
  });
});
