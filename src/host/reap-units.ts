import { shellWord } from "../error/shell-word.js";
import type { HostAdapter } from "./host-adapter.js";

/** What the units start; all paths absolute. */
export interface ReapTarget {
  readonly host: HostAdapter["type"];
  readonly version: string;
  readonly node: string;
  /** The script behind the command `luksmith`. */
  readonly cli: string;
}

/** Minutes between two runs. */
const EVERY = 5;
/** What the timer runs: it says that nobody waits for what is to be looked for now and then only. */
const REAP = "reap --timer";

const REAPS = "cleans up after guests that crashed";
const ROTATES = "replaces passphrases that are due";
const MARKER = new RegExp(`^# Luksmith \\S+: (?:${REAPS}|${ROTATES})\\.`, "m");

export interface ReapUnits {
  readonly service: string;
  readonly timer: string;
}

/** Of `luksmith install`; a package says itself whose its files are. */
const WRITTEN = 'Written by "luksmith install", taken away by "luksmith uninstall".';

/**
 * systemd's units that run `luksmith reap`. What the service is denied is what cleaning up does not need: it keeps the
 * host's devices, /run and semaphores, which device-mapper and udev share. `ProtectClock` is left out, since it takes
 * /dev/mapper/control away, and V8 writes code.
 * @param origin a sentence that says where the files come from
 * @param condition a path without which the timer does not run
 */
export function renderReapUnits(target: ReapTarget, origin = WRITTEN, condition?: string): ReapUnits {
  const { host, version, node, cli } = target;
  const head = `# Luksmith ${version}: ${REAPS}. ${origin}`;
  const where = whereOf(condition);
  return {
    service: `${head}
[Unit]
Description=Luksmith: clean up after guests that crashed
After=${HOSTS[host].after}

[Service]
Type=oneshot
ExecStart=${CLEAN} ${word(node)} ${word(cli)} ${REAP}
# something is in use, or the host manager does not answer: the next run tries again
SuccessExitStatus=4
TimeoutStartSec=5min
Nice=10
${HOSTS[host].denied}${DENIED}`,
    timer: `${head}
[Unit]
Description=Luksmith: clean up after guests that crashed, every ${EVERY} minutes${where}

[Timer]
OnCalendar=*:0/${EVERY}
AccuracySec=30s
Persistent=yes

[Install]
WantedBy=timers.target
`,
  };
}

/**
 * systemd's units that run `luksmith rotate --all --due` once a day: it does nothing unless the settings'
 * rotation.afterDays says so. The service writes to the host's volumes, wherever they are.
 * @param origin and condition as above
 */
export function renderRotateUnits(target: ReapTarget, origin = WRITTEN, condition?: string): ReapUnits {
  const { host, version, node, cli } = target;
  const head = `# Luksmith ${version}: ${ROTATES}. ${origin}`;
  return {
    service: `${head}
[Unit]
Description=Luksmith: replace passphrases that are due
After=network-online.target ${HOSTS[host].after}
Wants=network-online.target

[Service]
Type=oneshot
ExecStart=${CLEAN} ${word(node)} ${word(cli)} rotate --all --due
TimeoutStartSec=6h
Nice=10
${DENIED}`,
    timer: `${head}
[Unit]
Description=Luksmith: replace passphrases that are due, every day${whereOf(condition)}

[Timer]
OnCalendar=daily
# hosts share keystores
RandomizedDelaySec=4h
Persistent=yes

[Install]
WantedBy=timers.target
`,
  };
}

const CLEAN = "/usr/bin/env -i LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin";

const DENIED = `NoNewPrivileges=yes
ProtectHostname=yes
LockPersonality=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RestrictNamespaces=yes
RestrictAddressFamilies=AF_UNIX AF_NETLINK AF_INET AF_INET6
SystemCallArchitectures=native
UMask=0077
`;

function whereOf(condition: string | undefined): string {
  return condition === undefined ? "" : `\nConditionPathExists=${condition}`;
}

interface HostOfUnits {
  readonly after: string;
  readonly denied: string;
}

const HOSTS: Readonly<Record<HostAdapter["type"], HostOfUnits>> = {
  libvirt: {
    after: "libvirtd.service virtqemud.service",
    // it may read /home and /root, where Node.js may be
    denied: `ProtectSystem=full
ProtectHome=read-only
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
`,
  },
  // nothing that gives the service mounts of its own: it unmounts exports, for everybody, and writes to /etc/pve
  proxmox: { after: "pve-cluster.service", denied: "" },
};

/** The same for cron(8), a line of a file in /etc/cron.d; `luksmith rotate --all --due` is a second one, for who wants it. */
export function cronLine({ node, cli }: ReapTarget): string {
  // cron takes a percent sign for the end of the command
  const command = [node, cli].map((path) => shellWord(path).replaceAll("%", "\\%")).join(" ");
  return `*/${EVERY} * * * * root ${command} ${REAP} >/dev/null`;
}

/** Whether `text` is a unit of ours, of any version. */
export function isReapUnit(text: string): boolean {
  return MARKER.test(text);
}

/** A word of a command line in systemd.service(5). */
function word(text: string): string {
  const escaped = text
    .replaceAll("\\", "\\\\")
    .replaceAll('"', '\\"')
    .replaceAll("\n", "\\n")
    .replaceAll("%", "%%")
    .replaceAll("$", "$$$$");
  return `"${escaped}"`;
}
