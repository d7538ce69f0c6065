const PLAIN = /^[\w@%+=:,./][\w@%+=:,./-]*$/;

/** `text` as one word of a POSIX shell, for a command in a hint that people paste: names are hostile. */
export function shellWord(text: string): string {
  return PLAIN.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}
