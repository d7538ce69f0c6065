import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { KEY_USE_MESSAGE, tellJournal } from "../../src/audit/journal.js";
import { temporaryDirectory } from "../fs/tree.js";
import { use } from "./audit-world.js";

const END = { seq: 7, hash: "a".repeat(64) };

/** What logger(1) is started with, instead of a logger and its journal. */
function recorded() {
  const socket = join(temporaryDirectory(), "socket");
  const started: unknown[][] = [];
  return { socket, started, start: (...call: unknown[]) => void started.push(call) };
}

it("gives the journal one entry for a start, with a field for each value", () => {
  const { started, ...journal } = recorded();
  writeFileSync(journal.socket, "");
  const [vda, vdb] = [
    use("vda", { keystore: "local" }),
    use("vdb", { result: "failed", code: "KEY_NOT_FOUND" }),
  ];
  tellJournal([vda, vdb], END, journal);
  const [[tool, args, input]] = started as [[string, string[], string]];
  expect([tool, args]).toEqual(["logger", ["--journald"]]);
  expect(input.split("\n")).toEqual([
    `MESSAGE_ID=${KEY_USE_MESSAGE}`,
    "SYSLOG_IDENTIFIER=luksmith",
    "PRIORITY=4",
    `MESSAGE=provide done: key ${vda.key} of disk vda of guest web1; ` +
      `provide failed: key ${vdb.key} of disk vdb of guest web1 (KEY_NOT_FOUND)`,
    "LUKSMITH_SEQ=7",
    `LUKSMITH_HASH=${END.hash}`,
    ...["LUKSMITH_EVENT=provide", "LUKSMITH_RESULT=done", `LUKSMITH_KEY=${vda.key}`],
    ...["LUKSMITH_GUEST=web1", "LUKSMITH_GUEST_ID=101", "LUKSMITH_DISK=vda"],
    ...["LUKSMITH_VOLUME=/images/a.img", "LUKSMITH_KEYSTORE=local", "LUKSMITH_RESULT=failed"],
    ...[`LUKSMITH_KEY=${vdb.key}`, "LUKSMITH_DISK=vdb", "LUKSMITH_CODE=KEY_NOT_FOUND", ""],
  ]);
});

it("lets no name begin a field of its own", () => {
  const { started, ...journal } = recorded();
  writeFileSync(journal.socket, "");
  const name = "web1\nLUKSMITH_RESULT=refused\u001b[2J";
  tellJournal([use("vda", { guest: { id: "101", name } })], END, journal);
  const lines = String(started[0]?.[2]).split("\n");
  expect(lines.filter((line) => line.startsWith("LUKSMITH_RESULT="))).toEqual(["LUKSMITH_RESULT=done"]);
  expect(lines.join("")).not.toContain("\u001b");
});

it("starts nothing where there is no journal", () => {
  const { started, ...journal } = recorded();
  tellJournal([use()], END, journal);
  expect(started).toEqual([]);
});
