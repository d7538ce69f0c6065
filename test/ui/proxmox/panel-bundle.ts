import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { type InputOptions, type OutputOptions, rolldown } from "rolldown";

/** The panel as `npm run build` makes it. */
export async function panelBundle(): Promise<string> {
  const { default: configs } = (await import(pathToFileURL(resolve(".config/rolldown.config.mjs")).href)) as {
    default: readonly (InputOptions & { readonly output: OutputOptions })[];
  };
  const found = configs.find(({ output }) => output.dir === "dist/ui/proxmox");
  if (found === undefined) throw new Error("the build makes no panel");
  const { output, ...input } = found;
  const bundle = await rolldown(input);
  const { output: files } = await bundle.generate(output);
  await bundle.close();
  const script = files.find((file) => file.type === "chunk" && file.fileName === "luksmith-panel.js");
  if (script?.type !== "chunk") throw new Error("the build makes no script of the panel");
  return script.code;
}
