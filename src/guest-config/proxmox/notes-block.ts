import { type DiskNote, parseNote, renderNote } from "./disk-notes.js";

/** The part of a guest's description that is ours. */
export interface NotesBlock {
  readonly disks: readonly DiskNote[];
  /** Whether Luksmith has added the tag that says so, and takes it away again. */
  readonly hasAddedTag: boolean;
}

const BEGIN = "<!-- luksmith begin -->";
const END = "<!-- luksmith end -->";
const TITLE = "**Encrypted disks**, as Luksmith sees them:";
const TAG_LINE = "* tag: encrypted";

/** Characters that Proxmox VE lets a description have. */
const LONGEST = 8192;

/** A begin without an end, or the other way round, is a person's text: what is between cannot be known. */
const BLOCK = new RegExp(`^${BEGIN}\\r?\\n(?:(?!${BEGIN}\\r?\\n)[^\\n]*\\n)*?${END}\\r?$`, "gm");

export function readBlock(description: string): NotesBlock | undefined {
  const blocks = description.match(BLOCK);
  if (blocks === null) return undefined;
  const lines = blocks.flatMap((block) => block.split(/\r?\n/));
  return { disks: lines.flatMap((line) => parseNote(line) ?? []), hasAddedTag: lines.includes(TAG_LINE) };
}

/** The description without our block, and without the empty line before it that came with it. */
export function withoutBlock(description: string): string {
  const { before, after } = aroundBlocks(description);
  return before === "" ? after.replace(/^\r?\n/, "") : `${before}${after}`;
}

/**
 * The description with this block, in the place of the one that it has; at its end without. All else stays byte for
 * byte. Where the limit of Proxmox VE leaves too little room, the block says less.
 * @param vmid for a command in it
 * @returns undefined if there is no room at all
 */
export function withBlock(description: string, block: NotesBlock, vmid: string): string | undefined {
  const { before, separator, after } = aroundBlocks(description);
  return versionsOf(block, vmid)
    .map((text) => `${before}${separator}${text}${after}`)
    .find((text) => Array.from(text).length <= LONGEST);
}

interface Surroundings {
  readonly before: string;
  /** Line ends between the two. */
  readonly separator: string;
  readonly after: string;
}

/** What stands around the first of our blocks; more than one come from copying, and the others go. */
function aroundBlocks(description: string): Surroundings {
  const [first, ...others] = description.matchAll(BLOCK);
  if (first === undefined) {
    return { before: description, separator: description === "" ? "" : "\n\n", after: "" };
  }
  const [separator = ""] = /(\r?\n){0,2}$/.exec(description.slice(0, first.index)) ?? [];
  const before = description.slice(0, first.index - separator.length);
  let after = description.slice(first.index + first[0].length);
  for (const [other] of others) after = after.replace(other, () => "");
  return { before, separator, after };
}

/** The longest first. */
function versionsOf({ disks, hasAddedTag }: NotesBlock, vmid: string): string[] {
  const tag = hasAddedTag ? [TAG_LINE] : [];
  const bodies = [
    disks.map(renderNote),
    disks.map(({ disk, key }) => renderNote({ disk, key })),
    [`* ${disks.length} disks, for which there is no room here: luksmith status ${vmid}`],
  ];
  return bodies.map((lines) => [BEGIN, TITLE, "", ...lines, ...tag, END].join("\n"));
}
