import { useCallback, useEffect, useRef, useState } from "react";
import type { StatusOutput } from "../../../generated/status.js";
import type { UiApi } from "../../api/ui-api.js";
import { Newest } from "./newest.js";

export interface StatusReading {
  /** What was found out last; it stays while it is read again, and where that fails. */
  readonly status: StatusOutput | undefined;
  readonly isReading: boolean;
  readonly failure: unknown;
  readonly readAgain: () => void;
}

export function useStatus(api: UiApi): StatusReading {
  const [reading, setReading] = useState<Omit<StatusReading, "readAgain">>(BEGIN);
  const { current: newest } = useRef(new Newest());
  const read = useCallback(() => {
    setReading((before) => ({ ...before, isReading: true }));
    void newest.outcomeOf(api.status()).then((outcome) => {
      if (outcome === undefined) return;
      setReading(
        outcome.ok
          ? { status: outcome.value, isReading: false, failure: undefined }
          : (before) => ({ ...before, isReading: false, failure: outcome.failure }),
      );
    });
  }, [api, newest]);
  useEffect(read, [read]);
  return { ...reading, readAgain: read };
}

const BEGIN = { status: undefined, isReading: true, failure: undefined };
