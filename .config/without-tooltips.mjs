const TOOLTIP = "\0no-tooltip";

/**
 * PatternFly's Alert shows a title that is cut off in a tooltip, and brings what places it: 10 KB gzipped. No title of
 * the pages is cut off.
 */
export function withoutTooltips() {
  return {
    name: "without-tooltips",
    resolveId(source, importer = "") {
      const isOfAlert = /\/react-core\/dist\/esm\/components\/Alert\/[^/]+$/.test(importer);
      return isOfAlert && source === "../Tooltip" ? TOOLTIP : null;
    },
    load(id) {
      return id === TOOLTIP ? "export const Tooltip = ({ children = null }) => children;" : null;
    },
  };
}
