import * as strict from "@rgrove/parse-xml";
import type { LuksmithError } from "../error/luksmith-error.js";
import { guestConfigInvalid } from "./guest-config-invalid.js";
import { normalizeLineEnds, type NormalizedText } from "./line-ends.js";
import { printable } from "../error/printable.js";
import { XmlElement, type XmlSpan } from "./xml-element.js";

/** UTF-16 units. The largest real domain XML (hundreds of disks) has some hundred thousand. */
const MAX_LENGTH = 4 * 1024 * 1024;
/** That of libxml2, and so of libvirt. */
const MAX_DEPTH = 256;

type Scope = ReadonlyMap<string, string>;

const PREDECLARED: Scope = new Map([
  ["", ""],
  ["xml", "http://www.w3.org/XML/1998/namespace"],
]);

/**
 * The root element of a well-formed, namespace-well-formed XML 1.0 document without a document type.
 * @throws GUEST_CONFIG_INVALID and nothing else, with the place but without any value of the document
 */
export function parseXml(xml: string): XmlElement {
  if (xml.length > MAX_LENGTH) throw guestConfigInvalid(`the XML is longer than ${MAX_LENGTH} characters`);
  const source = normalizeLineEnds(xml);
  const root = parseStrictly(source.text);
  return elementOf(root, PREDECLARED, 1, source);
}

function parseStrictly(text: string): strict.XmlElement {
  let document: strict.XmlDocument;
  try {
    document = strict.parseXml(text, {
      includeOffsets: true,
      preserveCdata: true,
      preserveComments: true,
      preserveDocumentType: true,
    });
  } catch (thrown) {
    throw notWellFormed(thrown);
  }
  if (document.children.some((node) => node instanceof strict.XmlDocumentType)) {
    throw guestConfigInvalid("the XML has a document type, which could define entities");
  }
  if (document.root === null) throw guestConfigInvalid("the XML has no root element");
  return document.root;
}

/** The parser's message quotes the document, which may hold a VNC password: only what it cannot quote is kept. */
function notWellFormed(thrown: unknown): LuksmithError {
  if (thrown instanceof RangeError) return tooDeep();
  if (!(thrown instanceof strict.XmlError)) return guestConfigInvalid("the XML is not well-formed");
  const { line, column, message } = thrown;
  const what = message.replace(/ \(line [^]*$/, "").replace(/(?: for element |: )[^]*$/, "");
  return guestConfigInvalid(
    `the XML is not well-formed at line ${line}, column ${column}: ${lowerFirst(what)}`,
  );
}

function lowerFirst(text: string): string {
  return text.replace(/^[A-Z](?=[a-z])/, (letter) => letter.toLowerCase());
}

function tooDeep(): LuksmithError {
  return guestConfigInvalid(`the XML is nested deeper than ${MAX_DEPTH} elements`);
}

function elementOf(
  node: strict.XmlElement,
  inherited: Scope,
  depth: number,
  source: NormalizedText,
): XmlElement {
  if (depth > MAX_DEPTH) throw tooDeep();
  const written = Object.entries(node.attributes);
  const scope = scopeOf(written, inherited);
  const attributes = new Map(written.filter(([name]) => !isDeclaration(name)));
  for (const name of attributes.keys()) resolve(name, scope);
  const children: XmlElement[] = [];
  let text = "";
  for (const child of node.children) {
    if (child instanceof strict.XmlElement) children.push(elementOf(child, scope, depth + 1, source));
    else if (child instanceof strict.XmlText) text += child.text;
  }
  return new XmlElement({
    ...resolve(node.name, scope),
    attributes,
    children,
    text,
    span: spanOf(node, source),
  });
}

function isDeclaration(attribute: string): boolean {
  return attribute === "xmlns" || attribute.startsWith("xmlns:");
}

/** Namespaces in XML 1.0, 3: the declarations of one start tag, over those of the elements around it. */
function scopeOf(attributes: readonly (readonly [string, string])[], inherited: Scope): Scope {
  const declarations = attributes.filter(([name]) => isDeclaration(name));
  if (declarations.length === 0) return inherited;
  const scope = new Map(inherited);
  for (const [name, uri] of declarations) {
    const prefix = name.slice("xmlns:".length);
    const misused = name !== "xmlns" && (uri === "" || prefix === "xml" || prefix === "xmlns");
    if (misused)
      throw guestConfigInvalid(`the XML must not declare the namespace prefix ${printable(prefix)} so`);
    scope.set(prefix, uri);
  }
  return scope;
}

function resolve(qualified: string, scope: Scope): { name: string; namespace: string } {
  const [first = "", second, third] = qualified.split(":");
  const [prefix, name] = second === undefined ? ["", first] : [first, second];
  const namespace = scope.get(prefix);
  if (name === "" || third !== undefined || qualified.startsWith(":") || namespace === undefined) {
    throw guestConfigInvalid(
      `the XML uses ${printable(qualified)}, whose namespace prefix it does not declare`,
    );
  }
  return { name, namespace };
}

function spanOf(node: strict.XmlElement, source: NormalizedText): XmlSpan {
  const { text } = source;
  // the parser reports Infinity for an end that is the end of the document
  const end = Math.min(node.end, text.length);
  const outer = { start: source.original(node.start), end: source.original(end) };
  const [firstChild] = node.children;
  if (firstChild === undefined && text.endsWith("/>", end)) return { ...outer, content: undefined };
  const contentEnd = text.lastIndexOf("</", end - 1);
  const contentStart = firstChild?.start ?? contentEnd;
  return { ...outer, content: { start: source.original(contentStart), end: source.original(contentEnd) } };
}
