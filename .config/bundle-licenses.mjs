import { readFileSync, readdirSync } from "node:fs";

/** Has no license file of its own, and comes from those who made the other one, under the same license. */
const SAME_LICENSE = { "@patternfly/patternfly": "@patternfly/react-styles" };

/**
 * Who wrote what is bundled, and under which license it may be: each of them wants its text to come along.
 * `besides`: packages that are used without a module of theirs.
 */
export function bundleLicenses({ besides = [] } = {}) {
  return {
    name: "bundle-licenses",
    generateBundle(_, bundle) {
      const modules = Object.values(bundle).flatMap((chunk) => chunk.moduleIds ?? []);
      const folders = modules.flatMap(
        (id) => /^.*\/node_modules\/(@[^/]+\/)?[^/]+(?=\/)/.exec(id)?.[0] ?? [],
      );
      const all = new Set([...folders, ...besides.map((name) => `node_modules/${name}`)]);
      const texts = [...all].map(licenseOf).sort();
      this.emitFile({ type: "asset", fileName: "third-party-licenses.txt", source: texts.join("\n") });
    },
  };
}

function licenseOf(folder) {
  const { name, version, license } = JSON.parse(readFileSync(`${folder}/package.json`, "utf8"));
  const text = textIn(folder) ?? textIn(`node_modules/${SAME_LICENSE[name]}`);
  if (text === undefined) throw new Error(`${name} has no license file`);
  return `${name} ${version}: ${license}\n\n${text}\n`;
}

function textIn(folder) {
  const file = readdirSync(folder).find((entry) => /^licen[cs]e/i.test(entry));
  return file && readFileSync(`${folder}/${file}`, "utf8").trim();
}
