// Makes dist/share: what is installed outside of the engine's own directory, of the same commands and units.
import { copyFileSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { COMPLETIONS } from "../../src/cli/completion.js";
import { createProgram } from "../../src/cli/program.js";
import { renderCockpitEngine } from "../../src/host/libvirt/cockpit-engine.js";
import { renderReapUnits, renderRotateUnits } from "../../src/host/reap-units.js";
import { loadManifest } from "../../src/manifest/load.js";
import { manPage } from "./man-page.js";

const SHARE = "dist/share";
/** Where the Debian package has the engine, and Debian its Node.js. */
const ENGINE = "/usr/lib/luksmith";
const NODE = "/usr/bin/node";
/** The package brings the timer to hosts of libvirt as well, where `luksmith install` writes one of its own. */
const PROXMOX = "/usr/share/perl5/PVE/QemuServer.pm";

const { version } = loadManifest();
const program = createProgram();
const target = { host: "proxmox", version, node: NODE, cli: `${ENGINE}/dist/cli/luksmith.js` } as const;
const OWNER = "It belongs to the Debian package luksmith.";
const units = {
  reap: renderReapUnits(target, OWNER, PROXMOX),
  rotate: renderRotateUnits(target, OWNER, PROXMOX),
};

rmSync(SHARE, { recursive: true, force: true });
write("man/man1/luksmith.1", manPage(program, version));
write("bash-completion/completions/luksmith", COMPLETIONS.bash(program));
write("zsh/vendor-completions/_luksmith", COMPLETIONS.zsh(program));
write("fish/vendor_completions.d/luksmith.fish", COMPLETIONS.fish(program));
for (const [name, { service, timer }] of Object.entries(units)) {
  write(`systemd/luksmith-${name}.service`, service);
  write(`systemd/luksmith-${name}.timer`, timer);
}
write("cockpit/engine.js", renderCockpitEngine(target, 0, OWNER));
// "luksmith uninstall" asks it in a tree, as the package's scripts do
copyFileSync(new URL("may-be-removed", import.meta.url), `${SHARE}/may-be-removed`);

function write(name: string, text: string): void {
  const path = join(SHARE, name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text.endsWith("\n") ? text : `${text}\n`);
}
