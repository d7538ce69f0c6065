/** Markup that is safe to show: every text that went into it was escaped. */
export class Html {
  constructor(readonly source: string) {}
}

/** ExtJS takes labels, titles and cells for markup: everything that somebody else may have named goes through this. */
export function escaped(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}

/** Markup with texts in it, which are escaped; other markup, and lists of it, stay what they are. */
export function markup(
  strings: TemplateStringsArray,
  ...values: readonly (string | number | Html | readonly Html[])[]
): Html {
  const parts = strings.map((part, index) => part + sourceOf(values[index] ?? ""));
  return new Html(parts.join(""));
}

function sourceOf(value: string | number | Html | readonly Html[]): string {
  if (value instanceof Html) return value.source;
  if (typeof value === "object") return value.map(({ source }) => source).join("");
  return escaped(String(value));
}
