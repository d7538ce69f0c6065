/** Where Cockpit keeps what its user has chosen: auto, light or dark. */
const COCKPIT_STYLE = "shell:style";
const DARK = "pf-v6-theme-dark";

/** Dark where Cockpit is, or else where the system is; also when either of them changes. */
export function followTheme(page: Window): void {
  const system = page.matchMedia("(prefers-color-scheme: dark)");
  const apply = () => {
    const chosen = page.localStorage.getItem(COCKPIT_STYLE);
    page.document.documentElement.classList.toggle(DARK, isDark(chosen, system.matches));
  };
  system.addEventListener("change", apply);
  // of other frames, and of this one
  page.addEventListener("storage", apply);
  page.addEventListener("cockpit-style", apply);
  apply();
}

export function isDark(chosen: string | null, systemIsDark: boolean): boolean {
  return chosen === "dark" || (chosen !== "light" && systemIsDark);
}
