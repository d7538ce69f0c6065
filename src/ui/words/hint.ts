/** A piece of a hint: plain words, or what is to be typed as it is. */
export interface HintPart {
  readonly kind: "words" | "command";
  readonly text: string;
}

/** Programs that hints tell to run. A command ends where the sentence around it has a sign. */
const COMMAND =
  /(?<![\w/.'-])(?:luksmith|virsh|qm|pvesm|qemu-img|systemctl|systemd-creds|journalctl|openstack|pkcs11-tool|ls|npm) [^,;()`?]+/g;
/** In `luksmith status shows what is encrypted`, as in every sentence, but in no command. */
const PROSE =
  /\s(?:an?|the|it|its|they|one|as|is|are|and|or|to|of|on|again|which|what|where|that|says|shows)(?=\s|$)/;

/** The commands of a hint, and the words between them, as a sentence that has no period behind a command. */
export function hintParts(hint: string): HintPart[] {
  const text = hint.trim();
  const parts: HintPart[] = [];
  let begin = 0;
  for (const { 0: found, index } of text.matchAll(COMMAND)) {
    const command = found.trimEnd();
    if (PROSE.test(command)) continue;
    parts.push({ kind: "words", text: text.slice(begin, index) }, { kind: "command", text: command });
    begin = index + command.length;
  }
  const rest = text.slice(begin);
  if (rest !== "") parts.push({ kind: "words", text: /[.?!]$/.test(rest) ? rest : `${rest}.` });
  return parts.filter((part) => part.text !== "");
}
