import { useEffect, useState } from "react";
import type { StatusOutput } from "../../../generated/status.js";
import type { UiApi } from "../../api/ui-api.js";

/** What the host says of its disks, which tells where their keys are. */
export type Asked =
  | { readonly kind: "asking" }
  | { readonly kind: "known"; readonly status: StatusOutput }
  | { readonly kind: "failed"; readonly error: unknown };

export function useStatusAsked(api: UiApi, need: "needed" | "not-needed"): Asked {
  const [asked, setAsked] = useState<Asked>({ kind: "asking" });
  useEffect(() => {
    if (need === "not-needed") return;
    api.status().then(
      (status) => setAsked({ kind: "known", status }),
      (error: unknown) => setAsked({ kind: "failed", error }),
    );
  }, [api, need]);
  return asked;
}
