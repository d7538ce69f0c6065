import { describe, expect, it } from "vitest";
import { hintParts } from "../../../src/ui/words/hint.js";

/** Commands in brackets. */
const shown = (hint: string) =>
  hintParts(hint)
    .map(({ kind, text }) => (kind === "command" ? `[${text}]` : text))
    .join("");

describe("a hint", () => {
  it.each([
    ["make room", "make room."],
    ["is this the address of the keystore?", "is this the address of the keystore?"],
    ["make room.", "make room."],
    ["see /etc/pve/storage.cfg", "see /etc/pve/storage.cfg."],
    ["install luksmith again", "install luksmith again."],
    ["run luksmith as root, and see that there is room", "run luksmith as root, and see that there is room."],
    ["luksmith status shows which disks are encrypted", "luksmith status shows which disks are encrypted."],
    ["luksmith header backup makes one", "luksmith header backup makes one."],
  ])("of words is a sentence: %s", (hint, sentence) => {
    expect(shown(hint)).toBe(sentence);
  });

  it.each([
    ["luksmith protect web1 --disk vda", "[luksmith protect web1 --disk vda]"],
    ["see: luksmith status", "see: [luksmith status]"],
    [
      "stop that guest first; if it does not run: luksmith reap",
      "stop that guest first; if it does not run: [luksmith reap]",
    ],
    ["luksmith keys import --to KEYSTORE < FILE", "[luksmith keys import --to KEYSTORE < FILE]"],
    [
      "set it with virsh edit, or run luksmith protect",
      "set it with [virsh edit], or run [luksmith protect]",
    ],
    [
      "is the token good? openstack token issue -f value | luksmith --token-file - status",
      "is the token good? [openstack token issue -f value | luksmith --token-file - status]",
    ],
  ])("has no period behind a command: %s", (hint, sentence) => {
    expect(shown(hint)).toBe(sentence);
  });

  it.each([
    ["see: luksmith status; nothing was changed", "see: [luksmith status]; nothing was changed."],
    ["merge it (virsh blockcommit), then delete it", "merge it ([virsh blockcommit]), then delete it."],
  ])("has one behind words that follow a command: %s", (hint, sentence) => {
    expect(shown(hint)).toBe(sentence);
  });

  it("keeps every character of what is to be typed", () => {
    expect(hintParts("see: luksmith status 'web 1'").at(-1)).toEqual({
      kind: "command",
      text: "luksmith status 'web 1'",
    });
  });
});
