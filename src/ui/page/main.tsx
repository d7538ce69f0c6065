import { createRoot } from "react-dom/client";
import type { Transport } from "../api/transport.js";
import { App } from "./shell/app.js";
import { ErrorBoundary } from "./shell/error-boundary.js";
import { keepFocus } from "./shell/kept-focus.js";
import { followTheme } from "./shell/theme.js";
import { type Cockpit, CockpitTransport } from "./transports/cockpit.js";
import { LocalTransport } from "./transports/local.js";

declare global {
  interface Window {
    /** Set by Cockpit's base1/cockpit.js. */
    readonly cockpit?: Cockpit;
    /** What starts luksmith; set by a script that its installation writes. */
    readonly luksmithEngine?: readonly string[];
  }
}

followTheme(window);
keepFocus(document);
const place = document.getElementById("luksmith");
if (place === null) throw new Error("the page has no place for Luksmith");
createRoot(place).render(
  <ErrorBoundary>
    <App transport={transportOf(window)} />
  </ErrorBoundary>,
);

function transportOf(page: Window): Transport {
  if (page.cockpit !== undefined) return new CockpitTransport(page.cockpit, page.luksmithEngine);
  return new LocalTransport({
    location: page.location,
    history: page.history,
    sessionStorage: page.sessionStorage,
    // called as a method of anything else it throws
    fetch: (path, request) => page.fetch(path, request),
  });
}
