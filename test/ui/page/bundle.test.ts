import { readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";

// made by `npm run build`; without it these fail
const read = (name: string) => readFileSync(new URL(`../../../dist/ui/${name}`, import.meta.url), "utf8");
const KIB = 1024;

describe("the bundle of the pages", () => {
  it("is a script of at most 120 KiB, compressed", () => {
    expect(gzipSync(read("app.js"), { level: 9 }).length).toBeLessThanOrEqual(120 * KIB);
  });

  it("makes no code of text, which no content security policy of its homes allows", () => {
    expect(read("app.js")).not.toMatch(/\beval\(|new Function\(|\bFunction\("/);
  });

  it("is React's production build", () => {
    expect(read("app.js")).not.toContain("process.env");
    expect(read("app.js")).not.toContain("react-dom.development");
  });

  it("asks for no font, picture or style sheet but its own", () => {
    const styles = read("app.css");
    expect(styles).not.toContain("@font-face");
    expect(styles).not.toContain("@import");
    expect([...styles.matchAll(/url\(([^)]*)\)/g)].map(([, address]) => address)).toEqual([]);
  });

  it("has the styles of the components in use, and ours after them", () => {
    const styles = read("app.css");
    const places = [".pf-v6-c-button", ".pf-v6-c-label", ".luksmith-header"].map((name) =>
      styles.indexOf(`${name}{`),
    );
    expect(places.every((place) => place > 0)).toBe(true);
    expect(styles.lastIndexOf(".pf-v6-c-button")).toBeLessThan(styles.indexOf(".luksmith-header{"));
    expect(styles).toContain(":root:where(.pf-v6-theme-dark)");
    expect(styles).not.toContain("pf-v6-theme-felt.");
  });

  it("has every token that its own styles name", () => {
    const styles = read("app.css");
    const ours = styles.slice(styles.indexOf(".luksmith-"));
    const named = new Set([...ours.matchAll(/var\((--pf-t--[a-z0-9-]+)/g)].map(([, name]) => name));
    expect(named.size).toBeGreaterThan(10);
    expect([...named].filter((name) => !styles.includes(`${name}:`))).toEqual([]);
  });

  it("has no script, style or handler in its document", () => {
    const document = read("index.html");
    expect([...document.matchAll(/<script[^>]*>([^<]*)</g)].map(([, text]) => text)).toEqual([""]);
    expect(document).not.toMatch(/<style|\sstyle=|\son[a-z]+=/);
  });

  it("brings the licenses of what is in it", () => {
    const licenses = read("third-party-licenses.txt");
    for (const name of ["react", "react-dom", "@patternfly/react-core", "@patternfly/patternfly"])
      expect(licenses).toMatch(new RegExp(`^${name} [0-9.]+: MIT$`, "m"));
  });
});
