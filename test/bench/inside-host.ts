/** `inside-host.ts SECTION`, in User-Mode Linux: measures on a private libvirt host there; findings as JSON on stdout. */
import { startLibvirtHost } from "../lab/libvirt-host.js";
import { measureOnHost } from "./measure.js";
import { installPlugin } from "./plugin.js";
import type { Section } from "./section.js";

const [section] = process.argv.slice(2) as [Section];
await using host = await startLibvirtHost();
await installPlugin(host);
process.stdout.write(JSON.stringify(await measureOnHost(host, section)));
