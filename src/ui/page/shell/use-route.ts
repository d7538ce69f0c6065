import { useEffect, useRef, useState } from "react";
import { hashOf, type Route, routeOf } from "./route.js";

export interface Navigation {
  readonly route: Route;
  /** Where the user wants to go, and unsaved changes would be lost: it is asked first. */
  readonly wanted: Route | undefined;
  readonly leave: () => void;
  readonly stay: () => void;
}

/** Follows the address. `mayLeave` is asked when it changes, by a link, the back button, or by hand. */
export function useRoute(mayLeave: (from: Route) => boolean): Navigation {
  const [route, setRoute] = useState(() => routeOf(window.location.hash));
  const [wanted, setWanted] = useState<Route>();
  const current = useRef(route);

  const go = (next: Route) => {
    current.current = next;
    setRoute(next);
    setWanted(undefined);
  };
  useEffect(() => {
    const follow = () => {
      const next = routeOf(window.location.hash);
      if (next === current.current) return;
      if (mayLeave(current.current)) {
        go(next);
        return;
      }
      window.location.replace(hashOf(current.current));
      setWanted(next);
    };
    window.addEventListener("hashchange", follow);
    return () => window.removeEventListener("hashchange", follow);
  }, [mayLeave]);

  return {
    route,
    wanted,
    leave() {
      if (wanted === undefined) return;
      go(wanted);
      window.location.replace(hashOf(wanted));
    },
    stay: () => setWanted(undefined),
  };
}
