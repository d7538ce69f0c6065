import type { ReapOutput } from "../../../generated/reap.js";
import { sentence } from "../problem-words.js";

type Leftover = ReapOutput["leftovers"][number];

export function Leftovers({ leftovers }: { readonly leftovers: readonly Leftover[] }) {
  return (
    <ul className="luksmith-leftovers">
      {leftovers.map((leftover) => (
        <li key={`${leftover.kind} ${leftover.name}`}>
          <p>
            <strong>{KINDS[leftover.kind]}</strong> {ownerOf(leftover)}– {OUTCOMES[leftover.outcome]}
          </p>
          <p>
            <code>{leftover.name}</code>
          </p>
          {leftover.why !== undefined && <p>{sentence(leftover.why)}</p>}
        </li>
      ))}
    </ul>
  );
}

function ownerOf({ guest, disk }: Leftover): string {
  if (guest === undefined) return "";
  return `of ${guest.name ?? guest.id}${disk === undefined ? "" : `, ${disk}`} `;
}

const OUTCOMES = {
  cleaned: "gone",
  left: "there still",
  found: "found",
} satisfies Record<Leftover["outcome"], string>;

const KINDS = {
  mapping: "Decrypted mapping",
  "host-secret": "Host secret",
  claim: "Note about a mapping",
  arrival: "Note about a guest that migrated",
  export: "Decrypted export",
  "freed-key": "Key of a destroyed volume",
  "former-key": "Replaced passphrase",
  "paused-guest": "Guest left paused",
} satisfies Record<Leftover["kind"], string>;
