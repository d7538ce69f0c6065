/** A JSON Pointer (RFC 6901) one step longer: `/profiles/0` and `cipher` are `/profiles/0/cipher`. */
export function within(pointer: string, token: string | number): string {
  return `${pointer}/${String(token).replaceAll("~", "~0").replaceAll("/", "~1")}`;
}

/** `/profiles/0/name` as an administrator reads it: `profiles[0].name`. */
export function readablePath(pointer: string): string {
  return tokensOf(pointer).reduce(member, "");
}

export function tokensOf(pointer: string): string[] {
  return pointer
    .split("/")
    .slice(1)
    .map((token) => token.replaceAll("~1", "/").replaceAll("~0", "~"));
}

function member(path: string, name: string): string {
  if (/^[0-9]+$/.test(name)) return `${path}[${name}]`;
  if (!/^[A-Za-z_][\w-]*$/.test(name)) return `${path}[${JSON.stringify(name)}]`;
  return path === "" ? name : `${path}.${name}`;
}
