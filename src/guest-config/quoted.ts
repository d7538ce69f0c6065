const ENTITIES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  "'": "&apos;",
  '"': "&quot;",
};

/** The value of an attribute, as libvirt writes it. */
export function quoted(text: string): string {
  return `'${text.replace(/[&<>'"]/g, (character) => ENTITIES[character] ?? character)}'`;
}
