/** Where a text stops being JSON; lines and columns count from 1. */
export interface SyntaxProblem {
  readonly line: number;
  readonly column: number;
  /** `expected a value, found ]` */
  readonly sentence: string;
}

const SPACE = /[ \t\n\r]*/y;
const STRING = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y;
const SCALAR = new RegExp(
  `${STRING.source}|-?(?:0|[1-9][0-9]*)(?:\\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|null`,
  "y",
);

type State = "value" | "first item" | "name" | "first name" | "colon" | "after value";

/**
 * Undefined for a text that is JSON. JSON.parse knows it too, but says the place only sometimes, and quotes the text,
 * which may hold a secret.
 */
export function findSyntaxProblem(text: string): SyntaxProblem | undefined {
  const open: ("]" | "}")[] = [];
  let state: State = "value";
  let at = 0;

  const take = (token: string | RegExp): boolean => {
    const length = lengthOf(token, text, at);
    at += length ?? 0;
    return length !== undefined;
  };
  const fail = (expected: string): SyntaxProblem => problemAt(text, at, expected);

  for (;;) {
    take(SPACE);
    switch (state) {
      case "first item":
      case "value":
        if (take("[")) {
          open.push("]");
          state = "first item";
        } else if (take("{")) {
          open.push("}");
          state = "first name";
        } else if (take(SCALAR)) state = "after value";
        else if (state === "first item" && take("]")) {
          open.pop();
          state = "after value";
        } else return fail("a value");
        break;
      case "first name":
      case "name":
        if (take(STRING)) state = "colon";
        else if (state === "first name" && take("}")) {
          open.pop();
          state = "after value";
        } else return fail("a name in double quotes");
        break;
      case "colon":
        if (!take(":")) return fail(":");
        state = "value";
        break;
      case "after value": {
        const close = open.at(-1);
        if (close === undefined) return at === text.length ? undefined : fail("nothing more");
        if (take(",")) state = close === "]" ? "value" : "name";
        else if (take(close)) open.pop();
        else return fail(`, or ${close}`);
      }
    }
  }
}

function lengthOf(token: string | RegExp, text: string, at: number): number | undefined {
  if (typeof token === "string") return text.startsWith(token, at) ? token.length : undefined;
  token.lastIndex = at;
  return token.exec(text)?.[0].length;
}

function problemAt(text: string, at: number, expected: string): SyntaxProblem {
  const before = text.slice(0, at).split("\n");
  return {
    line: before.length,
    column: (before.at(-1)?.length ?? 0) + 1,
    sentence: `expected ${expected}, found ${foundAt(text, at)}`,
  };
}

function foundAt(text: string, at: number): string {
  const character = text.slice(at, at + 1);
  if (character !== '"') return character || "the end";
  return lengthOf(STRING, text, at) === undefined
    ? "a text with a line break or a wrong escape in it"
    : "a text";
}
