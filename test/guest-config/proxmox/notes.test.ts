import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { annotate, type Annotating, qmArguments } from "../../../src/guest-config/proxmox/annotator.js";
import { type DiskNote, parseNote, renderNote } from "../../../src/guest-config/proxmox/disk-notes.js";
import { readBlock, withBlock, withoutBlock } from "../../../src/guest-config/proxmox/notes-block.js";
import type { VmOptions } from "../../../src/guest-config/proxmox/vm-config.js";
import { parseKeyUuid } from "../../../src/keystore/key-uuid.js";
import { vmFixture } from "../../fixtures/proxmox/guests.js";

const KEY = parseKeyUuid("0d1e2f30-4152-4637-8495-a6b7c8d9eafb")!;
const RECORD = { format: "luks", cipher: "aes-xts-plain64", keySize: 512, keystore: "vault" };
const NOTE: DiskNote = { disk: "scsi0", key: KEY, record: RECORD };
const BLOCK = `<!-- luksmith begin -->
**Encrypted disks**, as Luksmith sees them:

* scsi0: luks, aes-xts-plain64, 512 bits, key ${KEY}, keystore vault
* tag: encrypted
<!-- luksmith end -->`;

/** What the options would be after Proxmox VE has done what is asked. */
function after(options: VmOptions, disks: readonly DiskNote[]): VmOptions {
  const annotating = annotate("100", options, disks);
  if (annotating.kind === "impossible") throw new Error(annotating.why);
  if (annotating.kind === "unchanged") return options;
  const changed = Object.entries(annotating.change).map(
    ([name, { to }]: [string, { to: string | undefined }]) => [name, to],
  );
  const all = { ...options, ...(Object.fromEntries(changed) as Record<string, string | undefined>) };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined)) as VmOptions;
}

it("a line about a disk comes back as it was written", () => {
  for (const note of [NOTE, { disk: "efidisk0", key: KEY }])
    expect(parseNote(renderNote(note))).toEqual(note);
  for (const line of ["", "* scsi0: key none", "* tag: encrypted", "* scsi0: luks, key", `scsi0: key ${KEY}`])
    expect(parseNote(line)).toBeUndefined();
});

describe("the notes of a guest", () => {
  it("get a block at their end, and the tag", () => {
    expect(after({ name: "a" }, [NOTE])).toEqual({ name: "a", description: BLOCK, tags: "encrypted" });
    expect(after({ description: "mine\n\n* list", tags: "b;a" }, [NOTE])).toEqual({
      ...{ description: `mine\n\n* list\n\n${BLOCK}`, tags: "b;a;encrypted" },
    });
  });

  it("are as they were when no disk is encrypted any more", () => {
    for (const options of [{}, { description: "mine", tags: "a" }, { description: "a\n\n\n\n* b" }])
      expect(after(after(options, [NOTE]), [])).toEqual(options);
  });

  it("keep the tag that a person had set", () => {
    const tagged = { tags: "Encrypted;x" };
    const annotated = after(tagged, [NOTE]);
    expect(annotated["tags"]).toBe("Encrypted;x");
    expect(readBlock(annotated["description"] ?? "")?.hasAddedTag).toBe(false);
    expect(after(annotated, [])).toEqual(tagged);
  });

  it("get the tag back that somebody took away, and lose it with the block", () => {
    const { tags, ...without } = after({}, [NOTE]);
    expect(tags).toBe("encrypted");
    expect(after(without, [NOTE])).toMatchObject({ tags: "encrypted" });
    expect(after(after(without, [NOTE]), [])).toEqual({});
  });

  it("have the block brought up to date where a person has moved it", () => {
    const moved = { description: `top\n${BLOCK}\nbottom`, tags: "encrypted" };
    const other = { ...NOTE, disk: "scsi1" };
    const { description = "" } = after(moved, [NOTE, other]);
    expect(description).toMatch(/^top\n<!-- luksmith begin -->\n[^]*\n<!-- luksmith end -->\nbottom$/);
    expect(readBlock(description)?.disks).toEqual([NOTE, other]);
    expect(withoutBlock(description)).toBe("top\nbottom");
    expect(withoutBlock(`${BLOCK}\nbottom`)).toBe("bottom");
  });

  it("change once: what is up to date stays, also with other line ends", () => {
    const options = after({ description: "mine" }, [NOTE]);
    expect(annotate("100", options, [NOTE])).toEqual({ kind: "unchanged" });
    expect(annotate("100", {}, [])).toEqual({ kind: "unchanged" });
    const crlf = { ...options, description: (options["description"] ?? "").replaceAll("\n", "\r\n") };
    expect(readBlock(crlf.description)?.disks).toEqual([NOTE]);
    expect(withoutBlock(crlf.description)).toBe("mine");
  });

  it("keep markers that are no pair: what is between them is a person's text", () => {
    const { options } = vmFixture("broken-markers").config;
    const text = options["description"] ?? "";
    expect(readBlock(text)?.disks.map(({ key }) => key)).toEqual(["00000000-0000-4000-8000-000000000000"]);
    const changed = after(options, [NOTE])["description"] ?? "";
    const [before = "", behind = ""] = changed.split(BLOCK.replace("* tag: encrypted\n", ""));
    expect(before).toBe("Notes of a person\n\n<!-- luksmith begin -->\nan end is missing\n\n");
    expect(behind).toBe("\nmore notes\n<!-- luksmith end -->");
    expect(annotate("121", { ...options, description: changed }, [NOTE]).kind).toBe("unchanged");
  });

  it("lose the copies of a block", () => {
    const { description = "" } = after({ description: `${BLOCK}\nx\n${BLOCK}\ny` }, [NOTE]);
    expect(description.match(/luksmith begin/g)).toHaveLength(1);
    expect(description).toContain("\nx\n");
  });

  it("with bytes that are no text, or cannot be in a command, stay as they are", () => {
    for (const description of ["a\ufffd", "a\0b"]) {
      expect(annotate("100", { description }, [NOTE])).toMatchObject({ kind: "impossible" });
      expect(annotate("100", { description }, [])).toEqual({ kind: "unchanged" });
    }
  });
});

it("whatever a person has written comes back byte for byte, and a second time changes nothing", () => {
  const piece = fc.oneof(
    fc.string({ unit: "binary", maxLength: 20 }),
    fc.constantFrom(
      "\n",
      "\n\n",
      "<!-- luksmith begin -->",
      "<!-- luksmith end -->",
      " ",
      "* tag: encrypted",
      "\r\n",
    ),
  );
  // as Proxmox VE reads descriptions; whole blocks are ours
  const text = fc
    .array(piece, { maxLength: 12 })
    .map((pieces) => pieces.join("").replace(/\s+$/u, ""))
    .filter((description) => description !== "" && !/[\0\ufffd]/.test(description))
    .filter((description) => readBlock(description) === undefined);
  fc.assert(
    fc.property(text, (description) => {
      const once = after({ description }, [NOTE]);
      expect(annotate("100", once, [NOTE])).toEqual({ kind: "unchanged" });
      expect(after(once, [])).toEqual({ description });
    }),
    { numRuns: 60 },
  );
});

describe("the limit of Proxmox VE", () => {
  const disks = Array.from({ length: 31 }, (_, index): DiskNote => ({ ...NOTE, disk: `scsi${index}` }));

  it.each([
    [100, /scsi30: luks, aes/],
    [5000, /scsi30: key/],
    [7900, /31 disks, for which there is no room here: luksmith status 100/],
  ])("after %i characters of a person's the block says less", (length, expected) => {
    const description = "ä".repeat(length);
    const text = withBlock(description, { disks, hasAddedTag: true }, "100") ?? "";
    expect(Array.from(text).length).toBeLessThanOrEqual(8192);
    expect(text).toMatch(expected);
    expect(readBlock(text)?.hasAddedTag).toBe(true);
    expect(withoutBlock(text)).toBe(description);
  });

  it("leaves notes without any room alone", () => {
    const impossible: Annotating["kind"] = "impossible";
    expect(annotate("100", { description: "x".repeat(8100) }, disks).kind).toBe(impossible);
  });
});

it("the arguments of qm are one word each, and what goes is deleted", () => {
  const digest = "a".repeat(40);
  const to = "-x\n$(id)";
  expect(qmArguments("100", { description: { to }, tags: { to: undefined } }, digest)).toEqual([
    ...["set", "100", "--description", to, "--delete", "tags", "--digest", digest],
  ]);
  const nothing = { description: { to: undefined }, tags: { to: undefined } };
  expect(qmArguments("100", nothing, digest).slice(2, 4)).toEqual(["--delete", "description,tags"]);
});
