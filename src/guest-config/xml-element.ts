import { guestConfigInvalid } from "./guest-config-invalid.js";
import { printable } from "../error/printable.js";

export interface XmlElementParts {
  /** Without its prefix. */
  readonly name: string;
  /** The URI that the prefix stands for; empty for an element in no namespace, as all of libvirt's own are. */
  readonly namespace: string;
  /** By name as written, with prefix; without namespace declarations. */
  readonly attributes: ReadonlyMap<string, string>;
  readonly children: readonly XmlElement[];
  /** Its own text and CDATA sections, not that of its children. */
  readonly text: string;
  readonly span: XmlSpan;
}

/** Where an element stands in the text that was parsed, in UTF-16 units. */
export interface XmlSpan {
  readonly start: number;
  readonly end: number;
  /** Where its content is; undefined for a self-closing tag. */
  readonly content: { readonly start: number; readonly end: number } | undefined;
}

/** A read-only view of one element of a document. */
export class XmlElement {
  readonly name: string;
  readonly namespace: string;
  readonly attributes: ReadonlyMap<string, string>;
  readonly children: readonly XmlElement[];
  readonly text: string;
  readonly span: XmlSpan;

  constructor(parts: XmlElementParts) {
    this.name = parts.name;
    this.namespace = parts.namespace;
    this.attributes = parts.attributes;
    this.children = parts.children;
    this.text = parts.text;
    this.span = parts.span;
  }

  attribute(name: string): string | undefined {
    return this.attributes.get(name);
  }

  elements(name: string, namespace = ""): readonly XmlElement[] {
    return this.children.filter((child) => child.name === name && child.namespace === namespace);
  }

  /** The only child of that name, or undefined. @throws GUEST_CONFIG_INVALID if there are two: which one counts? */
  element(name: string, namespace = ""): XmlElement | undefined {
    const [first, second] = this.elements(name, namespace);
    if (second !== undefined) {
      throw guestConfigInvalid(`element ${printable(this.name)} has more than one ${printable(name)}`);
    }
    return first;
  }
}
