import { expect, it } from "vitest";
import { BACKEND_TYPES, createStorageRegistry, StorageRegistry } from "../../src/storage/index.js";
import type { Volume } from "../../src/storage/volume.js";
import { RecordingCommandRunner } from "../fake/recording-command-runner.js";
import { codeOf, Workshop } from "./workshop.js";
import { DEFAULT_STORAGE } from "./default-storage.js";

const registry = createStorageRegistry(new RecordingCommandRunner(), DEFAULT_STORAGE);

it.each(["raw", "qcow2"] as const)(
  "gives %s image files to the storage backend of that name",
  async (format) => {
    const backend = await registry.backendFor({ kind: "file", path: "/srv/disk.img", format });
    expect(backend.type).toBe(format);
    expect(backend.formats).toContain("luks");
    expect(BACKEND_TYPES).toContain(format);
  },
);

it.each<Volume>([
  { kind: "file", path: "/srv/disk.vmdk", format: "other" },
  { kind: "block", path: "/dev/sdz", format: "qcow2" },
  { kind: "other", description: "network disk rbd/vm-1" },
  { kind: "none" },
])("refuses %j and names the storage backends that there are", async (volume) => {
  expect(await codeOf(registry.backendFor(volume))).toBe("VOLUME_UNSUPPORTED");
  expect(await registry.findBackend(volume)).toBeUndefined();
  await expect(registry.backendFor(volume)).rejects.toMatchObject({
    why: expect.stringContaining("raw, qcow2") as string,
  });
});

it("refuses two storage backends of one type", () => {
  using workshop = new Workshop("raw");
  const { backend } = workshop;
  expect(() => new StorageRegistry([backend, workshop.another()])).toThrow(/raw is registered twice/);
});
