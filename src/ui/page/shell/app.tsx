import { useMemo, useState } from "react";
import type { HomeError, Transport } from "../../api/transport.js";
import { UiApi } from "../../api/ui-api.js";
import { GuestsPage } from "../guests/guests-page.js";
import { SettingsPage } from "../settings/settings-page.js";
import { hasUnsaved } from "../settings/use-unsaved.js";
import { Header } from "./header.js";
import type { Route } from "./route.js";
import { SessionEnded } from "./session-ended.js";
import { UnsavedQuestion } from "./unsaved-question.js";
import { useRoute } from "./use-route.js";
import { watched } from "./watched.js";

export function App({ transport }: { readonly transport: Transport }) {
  const [expired, setExpired] = useState<HomeError>();
  const api = useMemo(() => new UiApi(watched(transport, setExpired)), [transport]);
  const { route, wanted, leave, stay } = useRoute(mayLeave);
  const [hasSeenGuests, setHasSeenGuests] = useState(route === "guests");
  if (route === "guests" && !hasSeenGuests) setHasSeenGuests(true);
  return (
    <>
      <Header route={route} />
      <main id="content" className="luksmith-content">
        {expired && <SessionEnded error={expired} />}
        {hasSeenGuests && (
          // it stays, hidden: it may be showing how far a conversion is
          <div hidden={route !== "guests"}>
            <GuestsPage api={api} place={route === "guests" ? "in-sight" : "hidden"} />
          </div>
        )}
        {route === "settings" && <SettingsPage api={api} />}
      </main>
      {wanted && <UnsavedQuestion loss="leaving" lose={leave} keep={stay} />}
    </>
  );
}

function mayLeave(from: Route): boolean {
  return from !== "settings" || !hasUnsaved();
}
