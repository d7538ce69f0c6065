import { create } from "xmlbuilder2";
import type { EncryptionBlock } from "../host/host-adapter.js";
import type { Layout } from "./layout.js";

/** The `<encryption>` element for a `<source>`, on one line. */
export function compactBlock(block: EncryptionBlock): string {
  return builderOf(block).end({ headless: true });
}

/** The same over several lines, `unit` deeper for each level; neither begins nor ends with a line end. */
export function indentedBlock(block: EncryptionBlock, { newline, indent }: Layout, unit: string): string {
  const lines = builderOf(block).end({ headless: true, prettyPrint: true, indent: unit }).split("\n");
  return lines.map((line) => indent + line).join(newline);
}

function builderOf({ format, secretUuid, engine }: EncryptionBlock) {
  const chosen = engine === undefined ? {} : { "@engine": engine };
  return create({
    encryption: { "@format": format, ...chosen, secret: { "@type": "passphrase", "@uuid": secretUuid } },
  });
}
