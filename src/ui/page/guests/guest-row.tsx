import { memo, useId, useState } from "react";
import { FOCUS_HOME } from "../shell/kept-focus.js";
import { Tag } from "../tag.js";
import { countVerdicts } from "./count-verdicts.js";
import type { Guest } from "./guest.js";
import { GuestDetails } from "./guest-details.js";
import { JobLine } from "./job-line.js";
import type { ProtectJob } from "./protect-job.js";
import { VerdictLabel } from "./verdict-label.js";

interface Props {
  readonly guest: Guest;
  /** When it was looked at. */
  readonly takenAt: string | undefined;
  readonly job: ProtectJob | undefined;
  readonly onProtect: (guest: Guest) => void;
  readonly onShow: ((guestName: string) => void) | undefined;
}

/** One line, and the rest when it is opened: a host may have hundreds of guests. */
export const GuestRow = memo(function GuestRow({ guest, takenAt, job, onProtect, onShow }: Props) {
  const [isOpen, setOpen] = useState(false);
  const details = useId();
  return (
    <li className="luksmith-guest">
      <div className="luksmith-guest-line">
        <h2>
          <button
            type="button"
            className="luksmith-guest-name"
            aria-expanded={isOpen}
            aria-controls={isOpen ? details : undefined}
            onClick={() => setOpen(!isOpen)}
            {...FOCUS_HOME}
          >
            <span aria-hidden="true">{isOpen ? "▾" : "▸"}</span> {guest.name}
          </button>
        </h2>
        <ul className="luksmith-labels">
          <li>
            <Tag>{guest.running ? "Running" : "Shut off"}</Tag>
          </li>
          {countVerdicts(guest.disks).map(([verdict, count]) => (
            <li key={verdict}>
              <VerdictLabel verdict={verdict} count={count} />
            </li>
          ))}
          {guest.problem && (
            <li>
              <Tag color="red" sign="!">
                Would not start
              </Tag>
            </li>
          )}
        </ul>
      </div>
      {job && <JobLine job={job} onShow={() => onProtect(guest)} />}
      {isOpen && (
        <div id={details} className="luksmith-guest-details">
          <GuestDetails guest={guest} takenAt={takenAt} onProtect={onProtect} onShow={onShow} />
        </div>
      )}
    </li>
  );
});
