import type { EncryptionBlock } from "../host/host-adapter.js";
import { compactBlock, indentedBlock } from "./encryption-block.js";
import { isLineEnd, layoutOf, trailingSpace, unitOf } from "./layout.js";
import type { Splice } from "./splice.js";
import type { XmlElement } from "./xml-element.js";

/**
 * Puts the block last into the source. Where it goes tells `removeBlock` what was there: on lines of its own in a
 * source that had a self-closing tag, directly after the start tag of one that had no content, after all content
 * otherwise.
 */
export function insertBlock(
  xml: string,
  disk: XmlElement,
  source: XmlElement,
  block: EncryptionBlock,
): Splice {
  const { end, content } = source.span;
  const outer = layoutOf(xml, source);
  const unit = unitOf(outer, layoutOf(xml, disk));
  if (content === undefined) {
    const { newline, indent } = outer ?? { newline: "\n", indent: "" };
    const text = indentedBlock(block, { newline, indent: indent + unit }, unit);
    return { start: end - "/>".length, end, text: `>${newline}${text}${newline}${indent}</source>` };
  }
  const last = content.end - trailingSpace(xml.slice(content.start, content.end));
  if (last <= content.start) return { start: content.start, end: content.start, text: compactBlock(block) };
  const sibling = source.children.at(-1);
  const inner = sibling && layoutOf(xml, sibling);
  const text = inner ? inner.newline + indentedBlock(block, inner, unit) : compactBlock(block);
  return { start: last, end: last, text };
}

/** Takes an encryption block out, of the source or of the disk; undoes what `insertBlock` did byte for byte. */
export function removeBlock(xml: string, disk: XmlElement, block: XmlElement): Splice {
  const { start, end } = block.span;
  const around = [disk.element("source"), disk].find((element) => element?.children.includes(block)) ?? disk;
  const content = around.span.content ?? around.span;
  const before = xml.slice(content.start, start);
  if (around.name === "source" && isLineEnd(before) && isLineEnd(xml.slice(end, content.end))) {
    return { start: content.start - ">".length, end: around.span.end, text: "/>" };
  }
  return { start: start - trailingSpace(before), end, text: "" };
}
