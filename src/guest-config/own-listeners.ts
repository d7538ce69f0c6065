import { parseDomain } from "./domain.js";
import type { XmlElement } from "./xml-element.js";

/** Where something listens: `tcp:5900`, whatever its address is, or `unix:/path`. */
export type Listener = `tcp:${number}` | `unix:${string}`;

const QEMU_NAMESPACE = "http://libvirt.org/schemas/domain/qemu/1.0";

/** What a guest's QEMU listens on by the configuration that it runs with, which has the ports that libvirt chose. */
export interface OwnListeners {
  has(listener: Listener): boolean;
}

/** @throws GUEST_CONFIG_INVALID */
export function ownListeners(xml: string): OwnListeners {
  const domain = parseDomain(xml);
  const named = new Set<Listener>(domain.elements("devices").flatMap(listenersIn));
  const args = domain
    .elements("commandline", QEMU_NAMESPACE)
    .flatMap((commandline) => commandline.elements("arg", QEMU_NAMESPACE))
    .map((arg) => arg.attribute("value") ?? "");
  return { has: (listener) => named.has(listener) || args.some((arg) => mentions(arg, listener)) };
}

function listenersIn(element: XmlElement): Listener[] {
  return [...listenersOf(element), ...element.children.flatMap(listenersIn)];
}

function listenersOf(element: XmlElement): Listener[] {
  const numbers = (...names: string[]) => names.flatMap((name) => tcp(element.attribute(name)));
  const paths = (name: string) => unix(element.attribute(name));
  switch (element.name) {
    case "graphics":
      return [...numbers("port", "tlsPort", "websocket"), ...paths("socket")];
    case "listen":
      return paths("socket");
    case "interface":
      return element.attribute("type") === "server" ? element.elements("source").flatMap(portOf) : [];
    case "source": {
      // character devices say bind, and network interfaces that vhost-user connects server
      const mode = element.attribute("mode");
      return mode === "bind" || mode === "server" ? [...numbers("service"), ...paths("path")] : [];
    }
    default:
      return [];
  }
}

function portOf(source: XmlElement): Listener[] {
  return tcp(source.attribute("port"));
}

function tcp(port: string | undefined): Listener[] {
  return port !== undefined && /^\d{1,5}$/.test(port) ? [`tcp:${Number(port)}`] : [];
}

function unix(path: string | undefined): Listener[] {
  return path === undefined ? [] : [`unix:${path}`];
}

/** Arguments that the guest's author hands through to QEMU (`-gdb tcp::1234`); one that says it and listens on it. */
function mentions(argument: string, listener: Listener): boolean {
  const [, place = ""] = /^\w+:(.*)$/s.exec(listener) ?? [];
  if (listener.startsWith("unix:")) return argument.includes(place);
  return argument.split(/\D+/).includes(place) || (argument === "-s" && place === GDB_PORT);
}

/** QEMU's `-s`. */
const GDB_PORT = "1234";
