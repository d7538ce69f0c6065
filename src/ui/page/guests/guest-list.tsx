import { Button } from "@patternfly/react-core/dist/esm/components/Button/index.js";
import type { Guest } from "./guest.js";
import { GuestRow } from "./guest-row.js";
import type { ProtectJob } from "./protect-job.js";
import { counted } from "./words.js";

interface Props {
  readonly guests: readonly Guest[];
  /** When they were looked at. */
  readonly takenAt: string | undefined;
  /** Also those that the filter hides. */
  readonly total: number;
  readonly jobs: ReadonlyMap<string, ProtectJob>;
  readonly onProtect: (guest: Guest) => void;
  readonly onShow: ((guestName: string) => void) | undefined;
  readonly onEverything: () => void;
}

export function GuestList({ guests, takenAt, total, jobs, onProtect, onShow, onEverything }: Props) {
  return (
    <>
      <p role="status">
        {guests.length === total ? counted(total, "guest") : `${guests.length} of ${counted(total, "guest")}`}
      </p>
      {guests.length === 0 && (
        <div className="luksmith-empty">
          <h2>No guest is like that</h2>
          <Button variant="link" onClick={onEverything}>
            Show all guests
          </Button>
        </div>
      )}
      <ul className="luksmith-guests">
        {guests.map((guest) => (
          <GuestRow
            key={guest.id}
            guest={guest}
            takenAt={takenAt}
            job={jobs.get(guest.id)}
            onProtect={onProtect}
            onShow={onShow}
          />
        ))}
      </ul>
    </>
  );
}
