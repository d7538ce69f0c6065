import { Alert } from "@patternfly/react-core/dist/esm/components/Alert/index.js";
import { Button } from "@patternfly/react-core/dist/esm/components/Button/index.js";
import { ProblemDetails, sentence } from "../problem-words.js";
import { DiskCard } from "./disk-card.js";
import type { Guest } from "./guest.js";
import { OfGuest } from "./of-guest.js";
import { LeakMap } from "./leak-map.js";
import { canBeProtected } from "./protectable.js";

interface Props {
  readonly guest: Guest;
  /** When it was looked at. */
  readonly takenAt: string | undefined;
  readonly onProtect: (guest: Guest) => void;
  readonly onShow: ((guestName: string) => void) | undefined;
}

export function GuestDetails({ guest, takenAt, onProtect, onShow }: Props) {
  const { id, name, problem, disks, dataPlaces } = guest;
  return (
    <>
      <p className="luksmith-quiet">{id}</p>
      {problem && (
        <Alert isInline variant="danger" title={sentence(problem.what)} component="h3">
          <ProblemDetails why={problem.why} hint={problem.hint} />
        </Alert>
      )}
      <div className="luksmith-buttons">
        {disks.some(canBeProtected) && (
          <Button variant="secondary" onClick={() => onProtect(guest)}>
            Encrypt disks
            <OfGuest name={name} />…
          </Button>
        )}
        {onShow && (
          <Button variant="link" onClick={() => onShow(name)}>
            Show in Machines
            <OfGuest name={name} />
          </Button>
        )}
      </div>
      {disks.length === 0 && problem === undefined && <p>This guest has no disks that hold data.</p>}
      <ul className="luksmith-disks" aria-label={`Disks of ${name}`}>
        {disks.map((disk) => (
          <DiskCard key={disk.device} disk={disk} takenAt={takenAt} />
        ))}
      </ul>
      <LeakMap places={dataPlaces} />
    </>
  );
}
