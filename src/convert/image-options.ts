import type { QemuNode } from "../storage/storage-backend.js";

/**
 * A QEMU node as its tools take it with --image-opts: names with dots, a comma in a value doubled. Nothing in it is
 * taken for a file name with a protocol, whatever a path looks like.
 */
export function imageOptions(node: QemuNode): string {
  return [...optionsOf(node, "")].map(([name, value]) => `${name}=${value.replaceAll(",", ",,")}`).join(",");
}

type Value = QemuNode[string];

function* optionsOf(value: Value, path: string): Generator<[name: string, value: string]> {
  if (typeof value === "object") {
    // of a list, the entries are the indices
    for (const [name, part] of Object.entries(value)) yield* optionsOf(part, path ? `${path}.${name}` : name);
  } else {
    yield [path, typeof value === "boolean" ? (value ? "on" : "off") : String(value)];
  }
}
