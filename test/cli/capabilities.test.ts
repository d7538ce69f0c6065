import { describe, expect, it } from "vitest";
import { capabilityOf } from "../../src/cli/capabilities.js";
import type { Offer } from "../../src/encryption/offers.js";
import { traitsOf } from "../../src/encryption/traits.js";
import { createStorageRegistry } from "../../src/storage/index.js";
import { RecordingCommandRunner } from "../fake/recording-command-runner.js";
import { DEFAULT_STORAGE } from "../storage/default-storage.js";
import { luksmith } from "./luksmith.js";

const backends = createStorageRegistry(new RecordingCommandRunner(), DEFAULT_STORAGE).all();
const [raw, block] = ["raw", "block"].map((name) => backends.find(({ type }) => type === name)!);
const native: Offer = {
  ...{ provider: "native", format: "luks", trait: "COMPUTE_EPHEMERAL_ENCRYPTION_LUKS" },
  ...{ offered: true, reasons: [] },
};
const offers = [native];
const offered = traitsOf(["luks"]);
const formatting = "new-volumes";
const everywhere = () => "/usr/bin/any";
/** A backend that needs programs, on a host that lacks some of them. */
const needy = Object.assign(Object.create(raw!) as NonNullable<typeof raw>, {
  tools: ["lvs", "lvcreate", "rbd"],
});

describe("a storage backend", () => {
  it("offers what its host does", () => {
    expect(capabilityOf(raw!, { offers, formatting }, everywhere)).toEqual({
      ...{ type: "raw", formats: raw!.formats, traits: offered },
      ...{ formatting, allocates: true, missing: [] },
    });
    const none = [{ ...native, offered: false, reasons: ["QEMU is too old"] }];
    expect(capabilityOf(raw!, { offers: none, formatting }, everywhere).traits).toEqual([]);
  });

  it("that cannot make volumes says so", () => {
    expect(capabilityOf(block!, { offers, formatting }, everywhere)).toMatchObject({ allocates: false });
  });

  it("offers nothing while the host lacks one of its programs, and names their packages", () => {
    const found = capabilityOf(needy, { offers, formatting }, (tool) =>
      tool === "lvs" ? "/sbin/lvs" : undefined,
    );
    expect(found).toMatchObject({
      traits: [],
      missing: [
        { program: "lvcreate", package: "lvm2" },
        { program: "rbd", package: "ceph-common" },
      ],
    });
    expect(capabilityOf(needy, { offers, formatting }, everywhere)).toMatchObject({
      traits: offered,
      missing: [],
    });
  });

  it("offers nothing where nothing may be formatted", () => {
    expect(capabilityOf(raw!, { offers, formatting: "never" }, everywhere)).toMatchObject({
      traits: [],
      formatting: "never",
    });
  });
});

it("asks for keys of a guest alone", () => {
  expect(luksmith(["capabilities", "--with-keys"])).toMatchObject({
    status: 2,
    stderr: expect.stringContaining("--with-keys needs --for") as string,
  });
});
