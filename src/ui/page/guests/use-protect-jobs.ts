import { useCallback, useState } from "react";
import type { UiApi } from "../../api/ui-api.js";
import type { Guest } from "./guest.js";
import {
  newJob,
  type ProtectChoice,
  type ProtectJob,
  withEnd,
  withEvent,
  withFailure,
} from "./protect-job.js";

export interface ProtectJobs {
  /** By the guest's id: the last one that this page has started. */
  readonly jobs: ReadonlyMap<string, ProtectJob>;
  readonly start: (choice: ProtectChoice, guest: Guest) => void;
  /** Forgets one that has ended. */
  readonly dismiss: (guestId: string) => void;
}

/** `onEnd` hears of each job that has ended, well or not: the status is another now. */
export function useProtectJobs(api: UiApi, onEnd: () => void): ProtectJobs {
  const [jobs, setJobs] = useState<ReadonlyMap<string, ProtectJob>>(new Map());
  const start = useCallback(
    (choice: ProtectChoice, { id, name }: Guest) => {
      let job = newJob(choice, name);
      const show = (next: ProtectJob) => {
        job = next;
        setJobs((before) => new Map(before).set(id, next));
      };
      show(job);
      api
        .protect({ ...choice, manner: "apply" }, (event) => show(withEvent(job, event)))
        .then(
          () => show(withEnd(job)),
          (failure: unknown) => show(withFailure(job, failure)),
        )
        .finally(onEnd);
    },
    [api, onEnd],
  );
  const dismiss = useCallback((guestId: string) => {
    setJobs(
      (before) => new Map([...before].filter(([id, { state }]) => id !== guestId || state === "running")),
    );
  }, []);
  return { jobs, start, dismiss };
}
