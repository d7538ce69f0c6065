import { readFileSync, readdirSync } from "node:fs";

const BASE = "node_modules/@patternfly/patternfly/patternfly-base.css";
const COMPONENTS = "node_modules/@patternfly/patternfly/components/";
/** Components whose markup the pages write themselves. */
const MARKUP = ["Label/label"];
const PAGES = "src/ui/page/";

/**
 * app.css: the base of PatternFly, the components that the pages import, and the pages' own rules. PatternFly's
 * fonts, icon fonts and background pictures stay out: the pages ask for no file but these two.
 */
export function pageStyles() {
  const components = new Map();
  return {
    name: "page-styles",
    load(id) {
      if (!id.endsWith(".css")) return null;
      components.set(id, readFileSync(id, "utf8"));
      return { code: "export {};", moduleType: "js" };
    },
    generateBundle() {
      const ours = readdirSync(PAGES, { recursive: true })
        .filter((path) => path.endsWith(".css"))
        .sort()
        .map((path) => readFileSync(PAGES + path, "utf8"));
      const markup = MARKUP.map((name) => readFileSync(`${COMPONENTS}${name}.css`, "utf8"));
      const parts = [readFileSync(BASE, "utf8"), ...byPath(components), ...markup, ...ours];
      const rules = parts.flatMap((css) => topLevelRules(withoutComments(css)).filter(isWanted));
      this.emitFile({ type: "asset", fileName: "app.css", source: `${rules.map(small).join("\n")}\n` });
    },
  };
}

/** The same bytes whatever order the modules were found in. */
function byPath(styles) {
  return [...styles].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, css]) => css);
}

function withoutComments(css) {
  return css.replace(/\/\*[^]*?\*\//g, "");
}

/** Each with its block; PatternFly has no brace inside a string. */
function topLevelRules(css) {
  const rules = [];
  let depth = 0;
  let start = 0;
  for (const { 0: sign, index } of css.matchAll(/[{};]/g)) {
    if (sign === "{") depth += 1;
    if (sign === "}") depth -= 1;
    if (depth > 0 || sign === "{") continue;
    rules.push(css.slice(start, index + 1).trim());
    start = index + 1;
  }
  return rules;
}

/** Of files that are not there, or themes that no home of the pages has. */
function isWanted(rule) {
  return !/^(@charset|@font-face|\.fa[srb]?\b|\.pf-v6-(icon|pficon)\b|:root:where\([^{]*(high-contrast|felt|glass)\b)/.test(
    rule,
  );
}

function small(rule) {
  return rule
    .replace(/url\("\.[^)]*\)/g, "none")
    .replace(/\s+/g, " ")
    .replace(/ ?([{};]) ?/g, "$1")
    .replace(/;}/g, "}");
}
