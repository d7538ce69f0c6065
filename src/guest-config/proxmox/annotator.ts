import { wordsOf } from "../../host/proxmox/storage-config.js";
import type { DiskNote } from "./disk-notes.js";
import { readBlock, withBlock, withoutBlock } from "./notes-block.js";
import type { VmOptions } from "./vm-config.js";

/** The tag of guests that have an encrypted disk. */
const TAG = "encrypted";

/** What an option is to be; undefined where it is to go. Absent where it stays. */
export interface NotesChange {
  readonly description?: { readonly to: string | undefined };
  readonly tags?: { readonly to: string | undefined };
}

export type Annotating =
  | { readonly kind: "unchanged" }
  | { readonly kind: "change"; readonly change: NotesChange }
  /** The description must stay as it is. */
  | { readonly kind: "impossible"; readonly why: string };

/**
 * How description and tags of a guest come to say which of its disks are encrypted; nothing else changes. Without disks
 * they say nothing any more. The tag of a person, who had set it before us, stays then. Pure.
 */
export function annotate(vmid: string, options: VmOptions, disks: readonly DiskNote[]): Annotating {
  const now = options["description"] ?? "";
  const tags = wordsOf(options["tags"] ?? "");
  const hasTag = tags.some(isOurs);
  const hasAddedTag = readBlock(now)?.hasAddedTag === true || (disks.length > 0 && !hasTag);
  const description = disks.length === 0 ? withoutBlock(now) : withBlock(now, { disks, hasAddedTag }, vmid);
  if (description === undefined) return { kind: "impossible", why: "its notes leave no room for ours" };
  const change = {
    ...(description === now ? {} : { description: { to: description === "" ? undefined : description } }),
    ...tagChange(tags, { isWanted: disks.length > 0, hasTag, hasAddedTag }),
  };
  if (Object.keys(change).length === 0) return { kind: "unchanged" };
  // what is no UTF-8 in the file, or has no place in a command, would not come back as it was
  const isExact = !/[\0\ufffd]/.test(now);
  if (description !== now && !isExact)
    return {
      kind: "impossible",
      why: "its notes have bytes that are no text, and would not stay as they are",
    };
  return { kind: "change", change };
}

function tagChange(
  tags: readonly string[],
  { isWanted, hasTag, hasAddedTag }: { isWanted: boolean; hasTag: boolean; hasAddedTag: boolean },
): Pick<NotesChange, "tags"> {
  if (isWanted) return hasTag ? {} : { tags: { to: [...tags, TAG].join(";") } };
  if (!hasTag || !hasAddedTag) return {};
  const others = tags.filter((tag) => !isOurs(tag));
  return { tags: { to: others.length === 0 ? undefined : others.join(";") } };
}

/** Proxmox VE keeps tags in lower case unless it is told otherwise. */
function isOurs(tag: string): boolean {
  return tag.toLowerCase() === TAG;
}

/** Arguments of `qm`, which refuses if the configuration is not the one with this digest any more. No secret is in them. */
export function qmArguments(vmid: string, { description, tags }: NotesChange, digest: string): string[] {
  const options = Object.entries({ description, tags });
  const set = options.flatMap(([name, value]) => (value?.to === undefined ? [] : [`--${name}`, value.to]));
  const gone = options.flatMap(([name, value]) =>
    value !== undefined && value.to === undefined ? [name] : [],
  );
  const deleted = gone.length === 0 ? [] : ["--delete", gone.join(",")];
  return ["set", vmid, ...set, ...deleted, "--digest", digest];
}
