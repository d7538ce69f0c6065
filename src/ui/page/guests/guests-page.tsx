import { useDeferredValue, useState } from "react";
import { Spinner } from "@patternfly/react-core/dist/esm/components/Spinner/index.js";
import type { UiApi } from "../../api/ui-api.js";
import { FailureNotice } from "../failure-notice.js";
import { FOCUS_HOME } from "../shell/kept-focus.js";
import { Exports } from "./exports.js";
import { EVERYTHING, matching } from "./filter.js";
import { FilterBar } from "./filter-bar.js";
import type { Guest } from "./guest.js";
import { GuestList } from "./guest-list.js";
import { KeystoresAway } from "./keystores-away.js";
import { NoGuests } from "./no-guests.js";
import { ProtectDialog } from "./protect-dialog.js";
import { ReapButton } from "./reap-button.js";
import { ReapDialog } from "./reap-dialog.js";
import { ReadingBar } from "./reading-bar.js";
import { Summary } from "./summary.js";
import { useProtectJobs } from "./use-protect-jobs.js";
import { useStatus } from "./use-status.js";

interface Props {
  readonly api: UiApi;
  readonly place: "in-sight" | "hidden";
}

export function GuestsPage({ api, place }: Props) {
  const { status, isReading, failure, readAgain } = useStatus(api);
  const { jobs, start, dismiss } = useProtectJobs(api, readAgain);
  const [filter, setFilter] = useState(EVERYTHING);
  const shown = useDeferredValue(filter);
  const [protecting, setProtecting] = useState<Guest>();
  const [isReaping, setReaping] = useState(false);
  const hasGuests = status !== undefined && status.guests.length > 0;
  if (place === "hidden" && (protecting !== undefined || isReaping)) {
    // a modal dialog that nobody sees would hold the whole document; what it has begun goes on
    setProtecting(undefined);
    setReaping(false);
  }
  return (
    <>
      <h1 tabIndex={-1} {...FOCUS_HOME}>
        Guests
      </h1>
      <ReadingBar status={status} isReading={isReading} onRead={readAgain}>
        {status && hasGuests && <Exports api={api} status={status} />}
        {status && <ReapButton onOpen={() => setReaping(true)} />}
      </ReadingBar>
      {failure !== undefined && <FailureNotice error={failure} onRetry={readAgain} />}
      {status === undefined && isReading && (
        <p role="status">
          <Spinner size="md" aria-label="Looking" /> Looking at the guests of this host.
        </p>
      )}
      {status && (
        <>
          {status.summary && hasGuests && (
            <Summary
              summary={status.summary}
              state={filter.state}
              onState={(state) => setFilter({ ...filter, state })}
            />
          )}
          <KeystoresAway keystores={status.keystores ?? []} unproven={status.summary?.disks.unproven ?? 0} />
          {hasGuests ? (
            <>
              <FilterBar filter={filter} onFilter={setFilter} />
              <GuestList
                guests={matching(status.guests, shown)}
                takenAt={status.takenAt}
                total={status.guests.length}
                jobs={jobs}
                onProtect={setProtecting}
                onShow={api.showGuest}
                onEverything={() => setFilter(EVERYTHING)}
              />
            </>
          ) : (
            <NoGuests />
          )}
        </>
      )}
      {protecting && (
        <ProtectDialog
          api={api}
          guest={protecting}
          job={jobs.get(protecting.id)}
          onStart={(choice) => start(choice, protecting)}
          onClose={() => {
            dismiss(protecting.id);
            setProtecting(undefined);
          }}
        />
      )}
      {isReaping && (
        <ReapDialog
          api={api}
          onClose={() => {
            setReaping(false);
          }}
          onCleaned={readAgain}
        />
      )}
    </>
  );
}
