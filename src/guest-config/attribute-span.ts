import type { XmlElement } from "./xml-element.js";

/** Where an attribute stands in the text that its element was parsed from, in UTF-16 units. */
export interface AttributeSpan {
  readonly name: { readonly start: number; readonly end: number };
  /** With its quotes. */
  readonly value: { readonly start: number; readonly end: number };
}

/** Undefined if the element has no attribute of that name, as it is written with its prefix. */
export function attributeSpan(xml: string, { span }: XmlElement, name: string): AttributeSpan | undefined {
  const attribute = /(\s+)([^\s=]+)(\s*=\s*)("[^"]*"|'[^']*')/y;
  attribute.lastIndex = span.start + (/^<[^\s/>]+/.exec(xml.slice(span.start, span.end))?.[0].length ?? 0);
  for (let match = attribute.exec(xml); match !== null; match = attribute.exec(xml)) {
    const [, space = "", found = "", equals = "", value = ""] = match;
    if (found !== name) continue;
    const start = match.index + space.length;
    const end = start + found.length;
    const valueStart = end + equals.length;
    return { name: { start, end }, value: { start: valueStart, end: valueStart + value.length } };
  }
  return undefined;
}
