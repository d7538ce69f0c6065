import type { StatusOutput } from "../../generated/status.js";
import { VERDICTS } from "../words/verdicts.js";
import type { Config } from "./ext.js";
import { type Html, markup } from "./html.js";
import { lines } from "./messages.js";

type Guest = StatusOutput["guests"][number];
type Disk = Guest["disks"][number];

/** What is to be said of the guest as a whole. */
export function guestMessage({ disks, problem, running }: Guest): Html {
  const refusal = problem === undefined ? [] : [refusalOf(problem, running)];
  const isPlain = disks.some(({ protection }) => protection === "plain");
  const way = isPlain ? [markup`${HOW_TO_ENCRYPT}`] : [];
  return markup`${[...refusal, ...way]}`;
}

function refusalOf({ what, why, hint }: NonNullable<Guest["problem"]>, running: boolean): Html {
  const when = running ? "It runs, and would not start again" : "It would not start";
  return markup`<b>${when}: ${what}</b>${lines(why, hint)}<br />`;
}

const HOW_TO_ENCRYPT =
  "To encrypt a disk, move it to a storage of type luksmith: Hardware, the disk, Disk Action, Move Storage. " +
  "The guest may go on running. What was on the old storage is overwritten in time, not at once.";

export function diskRows({ disks }: Guest): Config[] {
  return disks.map((disk) => ({
    device: disk.device,
    state: stateOf(disk),
    cipher:
      disk.cipher === undefined
        ? ""
        : [disk.cipher, disk.keySize].filter((part) => part !== undefined).join(", "),
    keystore: disk.keystore ?? "",
    since: (disk.keyRotatedAt ?? disk.keyCreatedAt ?? "").replace("T", " ").slice(0, 16),
    volume: disk.volume,
  }));
}

export function placeRows({ dataPlaces }: Guest): Config[] {
  return dataPlaces.map(({ kind, where, protection, detail, hint }) => ({
    kind: kind.replaceAll("-", " "),
    protection,
    where: where ?? "",
    detail: hint === undefined ? detail : `${detail} (${hint})`,
  }));
}

function stateOf({ verdict, askedBy, problem, copyOf }: Disk): string {
  const said = [
    VERDICTS[verdict].word,
    verdict === "unprotected" ? `asked for by ${askedBy.join(", ")}` : "",
    problem?.what ?? "",
    copyOf === undefined ? "" : `one key with ${copyOf}`,
  ];
  return said.filter((text) => text !== "").join("; ");
}
