import type { MappingAnnotation } from "../host/host-adapter.js";
import { isLineEnd, type Layout, layoutOf, trailingSpace, unitOf } from "./layout.js";
import { type MappingEntry, MAPPINGS_NAMESPACE, type MappingMetadata } from "./mapping-metadata.js";
import type { Splice } from "./splice.js";
import type { XmlElement } from "./xml-element.js";

export interface NewEntry {
  readonly dev: string;
  readonly annotation: MappingAnnotation;
  /** The attribute's value as XML has it, with its quotes. */
  readonly volume: string;
}

/**
 * Puts the entry last into our element of the metadata, which is made where it is missing, as is `<metadata>` itself.
 * Where things go tells `removeEntry` what was there: see `removeContainer`.
 */
export function insertEntry(
  xml: string,
  domain: XmlElement,
  { container }: MappingMetadata,
  entry: NewEntry,
): Splice {
  const last = container?.children.at(-1);
  if (container !== undefined && last !== undefined) {
    const layout = layoutOf(xml, last);
    const before = layout === undefined ? "" : layout.newline + layout.indent;
    return {
      start: last.span.end,
      end: last.span.end,
      text: before + entryText(entry, prefixOf(xml, container)),
    };
  }
  if (container !== undefined) {
    const layout = layoutOf(xml, container);
    return { ...container.span, text: containerText(entry, layout, "  ") };
  }
  const metadata = domain.element("metadata");
  return metadata === undefined ? newMetadata(xml, domain, entry) : intoMetadata(xml, metadata, entry);
}

/** Takes an entry out, and our element with the last one; undoes what `insertEntry` did byte for byte. */
export function removeEntry(
  xml: string,
  domain: XmlElement,
  { container }: MappingMetadata,
  { element }: MappingEntry,
): Splice {
  const { start, end } = element.span;
  const metadata = domain.element("metadata");
  if (metadata !== undefined && container?.children.length === 1)
    return removeContainer(xml, metadata, container);
  return { start: start - trailingSpace(xml.slice(0, start)), end, text: "" };
}

/**
 * Alone on lines of its own in `<metadata>`, it came with that; directly between its tags, those were one self-closing
 * tag; else only it and the white space before it came.
 */
function removeContainer(xml: string, metadata: XmlElement, container: XmlElement): Splice {
  const content = metadata.span.content ?? metadata.span;
  const before = xml.slice(content.start, container.span.start);
  const after = xml.slice(container.span.end, content.end);
  if (isLineEnd(before) && isLineEnd(after)) {
    const { start, end } = metadata.span;
    return { start: start - trailingSpace(xml.slice(0, start)), end, text: "" };
  }
  if (before === "" && after === "")
    return { start: content.start - ">".length, end: metadata.span.end, text: "/>" };
  return { start: container.span.start - trailingSpace(before), end: container.span.end, text: "" };
}

function intoMetadata(xml: string, metadata: XmlElement, entry: NewEntry): Splice {
  const { end, content } = metadata.span;
  const outer = layoutOf(xml, metadata);
  const compact = containerText(entry, undefined, "");
  if (content === undefined)
    return { start: end - "/>".length, end, text: `>${compact}</${tagName(xml, metadata)}>` };
  if (content.start === content.end)
    return { start: content.start, end: content.end, text: (outer?.newline ?? "\n") + compact };
  const last = content.end - trailingSpace(xml.slice(content.start, content.end));
  if (last <= content.start) return { start: content.start, end: content.start, text: compact };
  const sibling = metadata.children.at(-1);
  const inner = sibling && layoutOf(xml, sibling);
  const text =
    inner === undefined
      ? compact
      : inner.newline + inner.indent + containerText(entry, inner, unitOf(inner, outer));
  return { start: last, end: last, text };
}

/** Where libvirt prints it. */
function newMetadata(xml: string, domain: XmlElement, entry: NewEntry): Splice {
  const [anchor] = [...domain.elements("uuid"), ...domain.elements("name")];
  const at = anchor?.span.end ?? domain.span.content?.start ?? domain.span.end;
  const outer = (anchor && layoutOf(xml, anchor)) ?? { newline: "\n", indent: "  " };
  const unit = unitOf(outer, layoutOf(xml, domain));
  const inner = { newline: outer.newline, indent: outer.indent + unit };
  const container = inner.newline + inner.indent + containerText(entry, inner, unit);
  const line = outer.newline + outer.indent;
  return { start: at, end: at, text: `${line}<metadata>${container}${line}</metadata>` };
}

/** On one line without a layout; else over several, the first without its indent. */
function containerText(entry: NewEntry, layout: Layout | undefined, unit: string): string {
  const start = `<luksmith:mappings xmlns:luksmith="${MAPPINGS_NAMESPACE}">`;
  const end = "</luksmith:mappings>";
  const text = entryText(entry, "luksmith:");
  if (layout === undefined) return start + text + end;
  const line = layout.newline + layout.indent;
  return start + line + unit + text + line + end;
}

function entryText({ dev, annotation, volume }: NewEntry, prefix: string): string {
  const { mapping, volume: under, format, secretUuid } = annotation;
  return (
    `<${prefix}mapping dev="${dev}" name="${mapping}" type="${under.kind}" volume=${volume}` +
    ` format="${format}" secret="${secretUuid}"/>`
  );
}

/** With its colon; empty where it is the default namespace. */
function prefixOf(xml: string, element: XmlElement): string {
  return /^([^:]*:)?/.exec(tagName(xml, element))?.[0] ?? "";
}

function tagName(xml: string, { span }: XmlElement): string {
  return /^<([^\s/>]+)/.exec(xml.slice(span.start, span.end))?.[1] ?? "";
}
