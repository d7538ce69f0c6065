import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { LuksmithError } from "../../src/error/luksmith-error.js";
import { guestFromDomainXml } from "../../src/guest-config/domain-guest.js";
import { parseXml } from "../../src/guest-config/parse-xml.js";
import type { XmlElement } from "../../src/guest-config/xml-element.js";
import { DOMAINS, INVALID_DOMAINS } from "../fixtures/domains/domains.js";
import { wellFormed } from "../fixtures/domains/xmllint.js";
import { refusalOf } from "./refusal.js";

describe("parseXml", () => {
  it("reads elements, attributes, own text and CDATA", () => {
    const root = parseXml(`<a x='1' y="&lt;2&#x20;"> t <b>not mine</b><![CDATA[<c/>]]>&amp;</a>`);
    expect([...root.attributes]).toEqual([
      ["x", "1"],
      ["y", "<2 "],
    ]);
    expect(root.text).toBe(" t <c/>&");
    expect(root.children.map(({ name, text }) => [name, text])).toEqual([["b", "not mine"]]);
  });

  it("resolves prefixes where they are declared, and not beyond", () => {
    const root = parseXml(
      `<a xmlns:p='urn:1'><p:b/><c xmlns='urn:2' xmlns:p='urn:3'><p:b/><d xmlns=''/></c><p:b/><xml:e/></a>`,
    );
    const namesOf = (element: XmlElement) =>
      element.children.map(({ name, namespace }) => `${name} ${namespace}`);
    expect(namesOf(root)).toEqual([
      "b urn:1",
      "c urn:2",
      "b urn:1",
      "e http://www.w3.org/XML/1998/namespace",
    ]);
    expect(root.children.map(namesOf)[1]).toEqual(["b urn:3", "d "]);
    expect(root.elements("b", "urn:1")).toHaveLength(2);
    expect(root.elements("b")).toEqual([]);
  });

  it("keeps namespace declarations out of the attributes and prefixes in them", () => {
    const root = parseXml(`<a xmlns='urn:1' xmlns:p='urn:2' p:x='1' x='2'/>`);
    expect([...root.attributes]).toEqual([
      ["p:x", "1"],
      ["x", "2"],
    ]);
  });

  it("says where each element and its content stand, whatever line ends and characters come before", () => {
    for (const { xml } of DOMAINS) {
      for (const { span } of elementsOf(parseXml(xml))) {
        const written = xml.slice(span.start, span.end);
        expect(written).toMatch(/^<[^/!?][^]*>$/);
        if (span.content === undefined) expect(written).toMatch(/\/>$/);
        else {
          expect(xml.slice(span.start, span.content.start)).toMatch(/>$/);
          expect(xml.slice(span.content.end, span.end)).toMatch(/^<\/[^<>]*>$/);
        }
      }
    }
  });

  it("gives text with the line ends that XML says, and offsets in the original", () => {
    const xml = "<a>\r\n<b>1\r2\r\n3</b>\r\n</a>";
    const [b] = parseXml(xml).children;
    expect(b?.text).toBe("1\n2\n3");
    expect(xml.slice(b?.span.start, b?.span.end)).toBe("<b>1\r2\r\n3</b>");
  });

  it("refuses a document type, with entities or without", () => {
    expect(refusalOf(() => parseXml("<!DOCTYPE a><a/>")).why).toContain("document type");
    expect(refusalOf(() => parseXml(`<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>`)).code).toBe(
      "GUEST_CONFIG_INVALID",
    );
  });

  it("says line and column of what is not well-formed", () => {
    const { why } = refusalOf(() => parseXml("<a>\n  <b>\n</a>"));
    expect(why).toContain("line 3, column 1");
  });

  it.each([
    "<a passwd='hunter2&sesame;'/>",
    "<a passwd='hunter2'sesame='1' sesame='2'/>",
    "<a passwd='hunter2<sesame>'/>",
    "<a><b>hunter2<sesame</b></a>",
    "<a passwd=hunter2sesame/>",
  ])("quotes nothing of a document that is not well-formed: %s", (xml) => {
    const error = refusalOf(() => parseXml(xml));
    const told = [error.message, error.why, error.hint, error.stack, String(error.cause)].join();
    expect(told).not.toContain("hunter2");
    expect(told).not.toContain("sesame");
  });

  const size = 4 * 1024 * 1024;
  it.each<[string, string]>([
    ["too long", `<a>${" ".repeat(size)}</a>`],
    ["257 deep", "<a>".repeat(257) + "</a>".repeat(257)],
    ["a million deep", "<a>".repeat(size / 4)],
    ["unclosed CDATA", `<a>${"<![CDATA[".repeat(size / 10)}`],
    ["a document type of brackets", `<!DOCTYPE a [${"] ".repeat(size / 4)}x><a/>`],
    ["ampersands", `<a>${"&".repeat(size - 10)}</a>`],
  ])("refuses hostile input soon: %s", (_, xml) => {
    expect(refusalOf(() => parseXml(xml)).code).toBe("GUEST_CONFIG_INVALID");
  });

  it.each<[string, string]>([
    ["carriage returns", `<a>${"\r".repeat(size - 7)}</a>`],
    ["CRLF in one attribute", `<a b='${"\r\n".repeat(size / 4)}'/>`],
    ["elements", `<a>${"<b/>\r\n".repeat(size / 64)}</a>`],
    ["attributes", `<a ${Array.from({ length: size / 40 }, (_, index) => `a${index}=''`).join(" ")}/>`],
  ])("reads large input soon: %s", (_, xml) => {
    expect(parseXml(xml).name).toBe("a");
  });

  it("reads 256 levels", () => {
    expect(elementsOf(parseXml("<a>".repeat(256) + "</a>".repeat(256)))).toHaveLength(256);
  });
});

describe("any text at all", () => {
  it("makes a guest or is refused as GUEST_CONFIG_INVALID, and nothing else is thrown", () => {
    fc.assert(
      fc.property(mutant(), (xml) => {
        try {
          guestFromDomainXml(xml);
        } catch (thrown) {
          expect(thrown).toBeInstanceOf(LuksmithError);
          expect((thrown as LuksmithError).code).toBe("GUEST_CONFIG_INVALID");
        }
      }),
      { numRuns: 500 },
    );
  });

  it("is never read where libvirt's own parser finds a fault in it", () => {
    const mutants = [
      ...INVALID_DOMAINS.map(({ xml }) => xml),
      ...fc.sample(mutant(), { seed: 1, numRuns: 800 }),
    ];
    const good = wellFormed(mutants);
    const accepted = mutants.filter((xml) => isRead(xml));
    const acceptedInError = mutants.filter((xml, index) => isRead(xml) && !good.has(index));
    expect(acceptedInError).toEqual([]);
    expect(accepted.length).toBeGreaterThan(50);
    expect(good.size).toBeLessThan(mutants.length - 50);
  });
});

function isRead(xml: string): boolean {
  try {
    parseXml(xml);
    return true;
  } catch {
    return false;
  }
}

function elementsOf(element: XmlElement): XmlElement[] {
  return [element, ...element.children.flatMap(elementsOf)];
}

/** A fixture with some pieces cut out, doubled, swapped or replaced by what XML treats specially. */
function mutant(): fc.Arbitrary<string> {
  const scrap = fc.oneof(
    fc.constantFrom(
      "<",
      ">",
      "/>",
      "</",
      "&",
      "&#0;",
      "&#xD800;",
      "'",
      '"',
      "<!--",
      "-->",
      "<![CDATA[",
      "]]>",
    ),
    fc.constantFrom(
      "<?x?>",
      "\0",
      "\r",
      "\n",
      "\u{FFFE}",
      "\uD800",
      "xmlns='urn:x' ",
      ":",
      "=",
      "__proto__='' ",
    ),
    fc.constantFrom(
      "<source file=''/>",
      "<target dev='vda'/>",
      "<encryption format='luks'/>",
      "</disk>",
      "<devices>",
    ),
    fc.string({ maxLength: 5 }),
  );
  const change = fc.record({
    at: fc.nat(),
    length: fc.nat({ max: 40 }),
    by: fc.option(scrap),
    copyFrom: fc.nat(),
  });
  return fc
    .tuple(
      fc.constantFrom(...DOMAINS.map(({ xml }) => xml)),
      fc.array(change, { minLength: 1, maxLength: 3 }),
    )
    .map(([fixture, changes]) =>
      changes.reduce((xml, { at, length, by, copyFrom }) => {
        const start = at % (xml.length + 1);
        const from = copyFrom % (xml.length + 1);
        return (
          xml.slice(0, start) + (by ?? xml.slice(from, from + length)) + xml.slice(start + (by ? 0 : length))
        );
      }, fixture),
    );
}
