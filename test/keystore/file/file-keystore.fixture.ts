import { readdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { FileKeystore } from "../../../src/keystore/file/file-keystore.js";

export function fileKeystore(directory: string): FileKeystore {
  return new FileKeystore({ name: "local", type: "file", directory });
}

export function recordPath(directory: string, { uuid }: { readonly uuid: string }): string {
  return join(directory, "records", `${uuid}.json`);
}

export function filesBelow(directory: string): string[] {
  return readdirSync(directory, { recursive: true, encoding: "utf8" })
    .map((name) => join(directory, name))
    .filter((path) => statSync(path).isFile());
}

export function writePrivate(path: string, content: string | Uint8Array): void {
  writeFileSync(path, content, { mode: 0o600 });
}
