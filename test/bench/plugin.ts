import { cp, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { LibvirtHost } from "../lab/libvirt-host.js";

const PROJECT = fileURLToPath(new URL("../..", import.meta.url));

/** Where things are on the private host, under its scratch directory: on a real disk, with a real fsync. */
export function places(dir: string) {
  const plugin = join(dir, "plugin");
  return {
    volumes: join(dir, "volumes"),
    keystore: join(dir, "keystore"),
    hooks: join(plugin, "dist/hooks"),
    luksmith: join(plugin, "dist/cli/luksmith.js"),
    plugin,
  };
}

/** What libvirt runs. */
export const SHIM = "/etc/libvirt/hooks/qemu.d/luksmith";

/** Installs the plugin as an administrator has it: the package's files alone, its hook registered, settings made. */
export async function installPlugin(host: LibvirtHost): Promise<void> {
  const { plugin, volumes, keystore, luksmith } = places(host.dir);
  const { files } = JSON.parse(await readFile(join(PROJECT, "package.json"), "utf8")) as { files: string[] };
  for (const file of files) await cp(join(PROJECT, file), join(plugin, file), { recursive: true });
  await mkdir(volumes);
  const settings = { version: 1, keystores: [{ name: "local", type: "file", directory: keystore }] };
  await writeFile(join(host.root, "etc/luksmith/settings.json"), JSON.stringify(settings));
  const { exitCode, stderr } = await host.exec([process.execPath, luksmith, "install", "--host", "libvirt"]);
  if (exitCode !== 0) throw new Error(stderr);
}
