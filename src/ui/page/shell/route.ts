/** The pages, as the part of the address after # names them: a reload stays where it was. */
export const ROUTES = ["guests", "settings"] as const;
export type Route = (typeof ROUTES)[number];

export function routeOf(hash: string): Route {
  return ROUTES.find((route) => hashOf(route) === hash) ?? "guests";
}

export function hashOf(route: Route): string {
  return `#/${route}`;
}
