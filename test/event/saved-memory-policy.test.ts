import { describe, expect, it } from "vitest";
import {
  applySavedMemoryPolicy,
  refuseSavedMemory,
  reportSavedMemory,
} from "../../src/event/saved-memory-policy.js";
import { guestFromDomainXml } from "../../src/guest-config/domain-guest.js";
import type { Guest } from "../../src/host/host-adapter.js";
import { newKeyUuid } from "../../src/keystore/key-uuid.js";
import { guestXml } from "../e2e/support/guests.js";
import { RecordingLogger } from "../fake/recording-logger.js";

const ID = "1c52488a-030a-473c-8447-ca7960e68062";
const FILE = "/var/lib/libvirt/qemu/save/web1.save";

function guest(disks: "encrypted" | "plain", name = "web1"): Guest {
  const block = disks === "encrypted" ? { secretUuid: newKeyUuid() } : {};
  const disk = { dev: "vda", path: "/srv/vm/a.img", format: "raw" as const, ...block };
  return guestFromDomainXml(guestXml({ name, uuid: ID, disks: [disk] }));
}

/** What the function threw, and what it logged. */
function outcome(
  rule: typeof applySavedMemoryPolicy,
  savedMemory: "allow" | "warn" | "refuse",
  { of = guest("encrypted"), file = FILE }: { of?: Guest; file?: string | undefined } = {},
) {
  const logger = new RecordingLogger();
  let thrown: unknown;
  try {
    const host = { type: "libvirt" as const, savedMemory: () => (file === "" ? undefined : file) };
    rule(of, { settings: { savedMemory }, host, logger });
  } catch (error) {
    thrown = error;
  }
  return { thrown, errors: logger.errors, warnings: logger.warnings };
}

describe("a guest that resumes from saved memory", () => {
  it("resumes in silence where the settings allow it", () => {
    expect(outcome(applySavedMemoryPolicy, "allow")).toEqual({ thrown: undefined, errors: [], warnings: [] });
  });

  it("resumes with a warning that names the file", () => {
    const { thrown, warnings } = outcome(applySavedMemoryPolicy, "warn");
    expect(thrown).toBeUndefined();
    expect(warnings).toEqual([
      {
        message: `the guest resumes from memory that lay in plaintext in ${FILE}`,
        fields: { guest: "web1" },
      },
    ]);
  });

  it("is refused, with the file and how to discard it", () => {
    const { thrown, warnings } = outcome(applySavedMemoryPolicy, "refuse");
    expect(warnings).toEqual([]);
    expect(thrown).toMatchObject({
      code: "SAVED_MEMORY_REFUSED",
      why: expect.stringContaining(FILE) as unknown,
    });
    expect(thrown).toMatchObject({
      hint: expect.stringContaining(`virsh managedsave-remove ${ID}`) as unknown,
    });
  });

  it("is refused too where a snapshot's plain file lies over its encrypted disk", () => {
    const base = { path: "/srv/vm/a.img", format: "raw" as const, secretUuid: newKeyUuid() };
    const disk = { dev: "vda", path: "/srv/vm/a.s1", format: "qcow2" as const, base };
    const of = guestFromDomainXml(guestXml({ name: "web1", uuid: ID, disks: [disk] }));
    expect(outcome(applySavedMemoryPolicy, "refuse", { of }).thrown).toMatchObject({
      code: "SAVED_MEMORY_REFUSED",
    });
  });

  it("is refused too where the memory is in a file that a person named, which has another remedy", () => {
    const { thrown } = outcome(applySavedMemoryPolicy, "refuse", { file: "" });
    expect(thrown).toMatchObject({
      code: "SAVED_MEMORY_REFUSED",
      hint: expect.not.stringContaining("managedsave-remove") as unknown,
    });
  });

  it.each(["allow", "warn", "refuse"] as const)(
    "is not spoken about without an encrypted disk (%s)",
    (policy) => {
      for (const rule of [applySavedMemoryPolicy, refuseSavedMemory, reportSavedMemory]) {
        expect(outcome(rule, policy, { of: guest("plain") })).toEqual({
          thrown: undefined,
          errors: [],
          warnings: [],
        });
      }
    },
  );

  it.each(["allow", "warn", "refuse"] as const)("is planned without a word in the log (%s)", (policy) => {
    const { thrown, ...logged } = outcome(refuseSavedMemory, policy);
    expect(logged).toEqual({ errors: [], warnings: [] });
    expect(thrown !== undefined).toBe(policy === "refuse");
  });

  it("cannot forge a line with its name", () => {
    const { thrown } = outcome(applySavedMemoryPolicy, "refuse", { of: guest("encrypted", "a\u202eb") });
    expect(String(thrown)).toContain("a\\u{202e}b");
  });
});

describe("a guest that has stopped", () => {
  it.each(["allow", "warn", "refuse"] as const)("is not spoken about where no memory is (%s)", (policy) => {
    expect(outcome(reportSavedMemory, policy, { file: "" })).toEqual({
      thrown: undefined,
      errors: [],
      warnings: [],
    });
  });

  it("with saved memory is warned about, complained about, or nothing", () => {
    const message = `the guest's memory was saved in plaintext to ${FILE}`;
    expect(outcome(reportSavedMemory, "allow")).toMatchObject({ errors: [], warnings: [] });
    expect(outcome(reportSavedMemory, "warn")).toMatchObject({ errors: [], warnings: [{ message }] });
    expect(outcome(reportSavedMemory, "refuse")).toMatchObject({
      errors: [
        {
          message: `${message}, and will not be resumed`,
          fields: { error: { code: "SAVED_MEMORY_REFUSED" } },
        },
      ],
      warnings: [],
    });
  });
});
