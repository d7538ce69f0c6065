import { HintWords, sentence } from "../problem-words.js";
import { Tag } from "../tag.js";
import type { DataPlace } from "./guest.js";
import { counted } from "./words.js";

/** Where data of a guest are, or can be, besides its encrypted disks. */
export function LeakMap({ places }: { readonly places: readonly DataPlace[] }) {
  if (places.length === 0) return null;
  const open = places.filter(({ protection }) => protection === "plaintext").length;
  return (
    <details className="luksmith-leaks">
      <summary>
        Leak map: {counted(places.length, "other place")} of its data, {open} not encrypted
      </summary>
      <ul>
        {places.map(({ kind, where, protection, detail, hint }, index) => {
          const { word, sign, color } = PROTECTION[protection];
          return (
            <li key={index}>
              <p>
                <strong>{KINDS[kind]}</strong>{" "}
                <Tag color={color} sign={sign}>
                  {word}
                </Tag>
              </p>
              {where !== undefined && (
                <p>
                  <code>{where}</code>
                </p>
              )}
              <p>{sentence(detail)}</p>
              {hint !== undefined && (
                <p className="luksmith-quiet">
                  <HintWords hint={hint} />
                </p>
              )}
            </li>
          );
        })}
      </ul>
    </details>
  );
}

const PROTECTION = {
  encrypted: { word: "Encrypted", sign: "✓", color: "green" },
  plaintext: { word: "Plaintext", sign: "✕", color: "red" },
  possible: { word: "Possible", sign: "?", color: "orange" },
} as const satisfies Record<DataPlace["protection"], object>;

const KINDS = {
  disk: "Disk",
  medium: "Medium",
  nvram: "Firmware variables",
  "tpm-state": "State of its TPM",
  "saved-memory": "Saved memory",
  "snapshot-memory": "Memory of a snapshot",
  "memory-file": "Memory in a file",
  "core-dump": "Core dump",
  "console-log": "Log of its console",
  "shared-directory": "Shared directory",
  "boot-files": "Boot files",
  backup: "Backup",
  "host-device": "Device of the host",
  "qemu-arguments": "QEMU arguments",
  "host-secrets": "Secrets of the host",
  "host-swap": "Swap of the host",
  migration: "Migration",
  unknown: "Something unknown",
} satisfies Record<DataPlace["kind"], string>;
