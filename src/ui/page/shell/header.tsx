import { useEffect } from "react";
import { hashOf, type Route, ROUTES } from "./route.js";

const TITLES = { guests: "Guests", settings: "Settings" } satisfies Record<Route, string>;

export function Header({ route }: { readonly route: Route }) {
  useEffect(() => {
    document.title = `${TITLES[route]} – Luksmith`;
  }, [route]);
  return (
    <header className="luksmith-header">
      <span className="luksmith-brand">Luksmith</span>
      <nav aria-label="Pages">
        <ul className="luksmith-nav">
          {ROUTES.map((page) => (
            <li key={page}>
              <a href={hashOf(page)} aria-current={page === route ? "page" : undefined}>
                {TITLES[page]}
              </a>
            </li>
          ))}
        </ul>
      </nav>
    </header>
  );
}
