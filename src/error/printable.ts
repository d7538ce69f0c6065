const LONGEST = 80;

/**
 * Text of somebody else, made fit for a message: `visible`, and cut where it is long.
 */
export function printable(text: string): string {
  // a character has at most two UTF-16 units; one more than is shown tells that something was cut
  const characters = Array.from(text.slice(0, 2 * (LONGEST + 1)));
  const shown = visible(characters.slice(0, LONGEST).join(""));
  return characters.length > LONGEST ? `${shown}…` : shown;
}

/**
 * Control, formatting and unassigned characters become `\u{…}`, so that a guest's name can neither steer a terminal
 * nor forge a line of a log.
 */
export function visible(text: string): string {
  return text.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, escapeCharacter);
}

function escapeCharacter(character: string): string {
  return `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`;
}
