import type { XmlElement } from "./xml-element.js";

/** How the lines of a document are laid out. */
export interface Layout {
  readonly newline: string;
  /** White space before the line's first character. */
  readonly indent: string;
}

/** Whether this white space ends one line and indents the next. */
export function isLineEnd(text: string): boolean {
  return /^\r?\n[ \t]*$/.test(text);
}

/** How the line that the element begins is laid out, undefined if something else stands before it on the line. */
export function layoutOf(xml: string, { span }: XmlElement): Layout | undefined {
  const before = xml.slice(0, span.start);
  const indent = before.slice(before.length - trailingSpace(before, " \t"));
  const line = before.slice(0, before.length - indent.length);
  if (!line.endsWith("\n")) return undefined;
  return { newline: line.endsWith("\r\n") ? "\r\n" : "\n", indent };
}

/** How much deeper a level is than the one around it: two spaces, libvirt's own, where the document does not show. */
export function unitOf(inner: Layout | undefined, outer: Layout | undefined): string {
  const isDeeper = inner !== undefined && outer !== undefined && inner.indent.startsWith(outer.indent);
  return (isDeeper && inner.indent.slice(outer.indent.length)) || "  ";
}

/** How many of the last characters are white space. */
export function trailingSpace(text: string, space = " \t\r\n"): number {
  let length = 0;
  while (length < text.length && space.includes(text.charAt(text.length - 1 - length))) length += 1;
  return length;
}
