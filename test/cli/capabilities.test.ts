import { describe, expect, it } from "vitest";
import { capabilityOf } from "../../src/cli/capabilities.js";
import { createStorageRegistry } from "../../src/storage/index.js";
import { RecordingCommandRunner } from "../fake/recording-command-runner.js";
import { DEFAULT_STORAGE } from "../storage/default-storage.js";

const backends = createStorageRegistry(new RecordingCommandRunner(), DEFAULT_STORAGE).all();
const [raw, block] = ["raw", "block"].map((name) => backends.find(({ type }) => type === name)!);
const offered = ["COMPUTE_EPHEMERAL_ENCRYPTION", "COMPUTE_EPHEMERAL_ENCRYPTION_LUKS"] as const;
const formatting = "new-volumes";
const everywhere = () => "/usr/bin/any";
/** A backend that needs programs, on a host that lacks some of them. */
const needy = Object.assign(Object.create(raw!) as NonNullable<typeof raw>, {
  tools: ["lvs", "lvcreate", "rbd"],
});

describe("a storage backend", () => {
  it("offers what its host does", () => {
    expect(capabilityOf(raw!, { offered, formatting }, everywhere)).toEqual({
      ...{ type: "raw", formats: ["luks"], traits: offered },
      ...{ formatting, allocates: true, missing: [] },
    });
    expect(capabilityOf(raw!, { offered: [], formatting }, everywhere).traits).toEqual([]);
  });

  it("that cannot make volumes says so", () => {
    expect(capabilityOf(block!, { offered, formatting }, everywhere)).toMatchObject({ allocates: false });
  });

  it("offers nothing while the host lacks one of its programs, and names their packages", () => {
    const found = capabilityOf(needy, { offered, formatting }, (tool) =>
      tool === "lvs" ? "/sbin/lvs" : undefined,
    );
    expect(found).toMatchObject({
      traits: [],
      missing: [
        { program: "lvcreate", package: "lvm2" },
        { program: "rbd", package: "ceph-common" },
      ],
    });
    expect(capabilityOf(needy, { offered, formatting }, everywhere)).toMatchObject({
      traits: offered,
      missing: [],
    });
  });

  it("offers nothing where nothing may be formatted", () => {
    expect(capabilityOf(raw!, { offered, formatting: "never" }, everywhere)).toMatchObject({
      traits: [],
      formatting: "never",
    });
  });
});
