import { once } from "node:events";
import { connect } from "node:net";
import { freePort } from "./free-ports.js";
import { until } from "./guarded-daemon.js";
import type { LibvirtHost } from "./libvirt-host.js";

/** A Cockpit in a private libvirt host: whoever opens its pages is logged in there. It ends with the host. */
export interface CockpitServer extends AsyncDisposable {
  /** `http://127.0.0.1:PORT` */
  readonly url: string;
}

/**
 * It has a D-Bus of its own, on which nobody is and which libvirtd does not see: the bridge of version 337 fails without
 * any. When Cockpit ends, dbus-run-session ends that as well.
 */
const SCRIPT = `user=$1; exec >"$2.log" 2>&1 4>"$2"; shift 2
exec setpriv --reuid="$user" --clear-groups -- dbus-run-session -- \\
  sh -c 'echo $$ >&4; DBUS_SYSTEM_BUS_ADDRESS=$DBUS_SESSION_BUS_ADDRESS exec "$@" 4>&-' sh "$@"`;

/**
 * Needs the packages cockpit-ws, cockpit-bridge, cockpit-system and dbus-daemon. The bridge looks for packages when it
 * starts, and ends with the first browser that goes: one server for each visitor.
 * @param user an administrator, or somebody who cannot become one
 */
export async function startCockpit(
  host: LibvirtHost,
  user: "root" | "nobody" = "root",
): Promise<CockpitServer> {
  const port = await freePort();
  const pidFile = `${host.dir}/cockpit-${port}.pid`;
  const ended = host.exec([
    ...["sh", "-c", SCRIPT, "sh", user, pidFile, "env", "HOME=/run"],
    ...["/usr/lib/cockpit/cockpit-ws", "--no-tls", "--local-session=cockpit-bridge"],
    ...["--address=127.0.0.1", `--port=${port}`],
  ]);
  const url = `http://127.0.0.1:${port}`;
  const stop = async () => {
    await host.exec(["sh", "-c", `kill -KILL $(cat ${pidFile})`]);
    await ended;
  };
  try {
    await until(() => listens(port), 30);
  } catch (thrown) {
    await stop();
    throw thrown;
  }
  return { url, [Symbol.asyncDispose]: stop };
}

/** Without a request, whose session would come before the browser's. */
async function listens(port: number): Promise<void> {
  const socket = connect(port, "127.0.0.1");
  try {
    await once(socket, "connect");
  } finally {
    socket.destroy();
  }
}
