import { Button } from "@patternfly/react-core/dist/esm/components/Button/index.js";
import { useState } from "react";
import type { SettingsPreviewOutput } from "../../../generated/settings-preview.js";
import { ProblemWords } from "../problem-words.js";
import { Notice } from "./notice.js";

/** Rows that are shown at once: hosts with thousands of disks have more than anybody reads. */
const PAGE = 100;

type Guest = SettingsPreviewOutput["guests"][number];
type Disk = Guest["disks"][number];

const WISHES: Readonly<Record<Disk["wish"], string>> = {
  encrypted: "must be encrypted",
  plain: "must not be encrypted",
  none: "nobody asks",
  conflict: "conflict: would not start",
};

interface Props {
  readonly preview: SettingsPreviewOutput;
  readonly age: "current" | "outdated";
}

/** What was found, in numbers and disk by disk. */
export function PreviewResult({ preview: { guests }, age }: Props) {
  const [limit, setLimit] = useState(PAGE);
  if (guests.length === 0)
    return <Notice tone="info" title="This host has no guests yet: no rule matches anything." />;
  const rows = guests.flatMap((guest) => guest.disks.map((disk) => ({ guest, disk })));
  return (
    <>
      {age === "outdated" && (
        <Notice tone="warning" title="The settings have changed since: look again which guests match." />
      )}
      <p>{countWords(rows.map(({ disk }) => disk))}</p>
      {guests.map(
        ({ id, name, problem }) =>
          problem && (
            <Notice key={id} tone="warning" title={`${name}: its disks could not be looked at`}>
              <ProblemWords problem={problem} />
            </Notice>
          ),
      )}
      <table className="luksmith-table">
        <caption>Guests and their disks under these rules</caption>
        <thead>
          <tr>
            <th scope="col">Guest</th>
            <th scope="col">Disk</th>
            <th scope="col">Rule</th>
            <th scope="col">Wish</th>
          </tr>
        </thead>
        <tbody>
          {rows.slice(0, limit).map(({ guest, disk }) => (
            <tr key={`${guest.id} ${disk.device}`}>
              <th scope="row">{guest.name}</th>
              <td data-label="Disk">{disk.device}</td>
              <td data-label="Rule">{disk.rule ?? "none"}</td>
              <td data-label="Wish">
                <WishWords disk={disk} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      {rows.length > limit && (
        <Button variant="link" onClick={() => setLimit(limit + PAGE)}>
          {`Show more (${rows.length - limit} disks are not shown)`}
        </Button>
      )}
    </>
  );
}

function WishWords({ disk: { wish, profile, problem } }: { readonly disk: Disk }) {
  return (
    <>
      {WISHES[wish]}
      {profile !== undefined && ` (profile ${profile})`}
      {problem !== undefined && <ProblemWords problem={problem} />}
    </>
  );
}

function countWords(disks: readonly Disk[]): string {
  const count = (wish: Disk["wish"]) => disks.filter((disk) => disk.wish === wish).length;
  const wishes = (["encrypted", "plain", "conflict", "none"] as const).filter((wish) => count(wish) > 0);
  const found = wishes.map((wish) => `${count(wish)} ${WISHES[wish]}`).join("; ");
  return `${disks.length === 1 ? "1 disk" : `${disks.length} disks`}: ${found || "none could be looked at"}.`;
}
