import { printable } from "../error/printable.js";
import { LuksmithError } from "../error/luksmith-error.js";

/** What carries the connection from one libvirt to the other. */
type Transport = "tls" | "ssh" | "tcp" | "unix" | "command";

interface MigrationTarget {
  readonly uri: string;
  readonly transport: Transport;
}

/** What `virsh migrate` will be told of the way that data take. */
export interface RouteOptions {
  readonly to: string;
  readonly tls?: true;
  /** Peer to peer, through the connection of the two libvirts. */
  readonly tunnelled?: true;
  readonly copyStorage?: true;
  readonly migrateUri?: string;
  readonly disksUri?: string;
}

export interface MigrationRoute extends Omit<RouteOptions, "to"> {
  readonly target: MigrationTarget;
}

export interface Wire {
  readonly carries: "memory" | "storage";
  /** `socket`: it ends at a socket of this host, and whoever listens there knows the rest. */
  readonly protection: "encrypted" | "plaintext" | "socket" | "unknown";
  /** One clause for a person: who encrypts it, or why nobody does. */
  readonly by: string;
}

const EXAMPLE = "for example: --to qemu+tls://host2/system";

const TRANSPORTS: Readonly<Record<string, Transport>> = {
  tls: "tls",
  ssh: "ssh",
  libssh: "ssh",
  libssh2: "ssh",
  tcp: "tcp",
  unix: "unix",
  ext: "command",
};

const PARTS =
  /^(?<driver>[a-z][a-z0-9]*)(?:\+(?<transport>[a-z0-9]+))?:\/\/(?<authority>[^/?#]*)[^?#]*(?<query>\?.*)?$/s;

/** @throws USAGE for what libvirt would not take, whatever the guest is */
export function parseRoute({ to, ...options }: RouteOptions): MigrationRoute {
  refuseContradictions(options);
  return { ...options, target: parseTarget(to) };
}

/** @throws USAGE for what is no libvirt connection to QEMU on another host */
function parseTarget(uri: string): MigrationTarget {
  const { driver, transport, authority = "", query } = PARTS.exec(uri)?.groups ?? {};
  // neither is repeated: it can hold a password
  if (driver === undefined) throw usage("--to is no connection URI of libvirt", EXAMPLE);
  if (/^[^@]*:[^@]*@/.test(authority)) {
    throw usage("the URI of --to has a password, and libvirt takes none there", EXAMPLE);
  }
  if (driver !== "qemu") throw usage(`--to ${printable(uri)} is not a connection to QEMU`, EXAMPLE);
  if (transport === undefined && authority !== "") return { uri, transport: "tls" };
  const known = transport === undefined ? "unix" : TRANSPORTS[transport];
  if (known === undefined) throw usage(`libvirt has no transport ${printable(transport ?? "")}`, EXAMPLE);
  if (known === "unix" && authority === "" && !/[?&]socket=./.test(query ?? "")) {
    throw usage(`--to ${printable(uri)} is this host`, EXAMPLE);
  }
  return { uri, transport: known };
}

function refuseContradictions({
  tunnelled,
  copyStorage,
  migrateUri,
  disksUri,
}: Omit<RouteOptions, "to">): void {
  if (tunnelled && copyStorage) {
    throw usage("--tunnelled copies no storage", "with --tls in its place, QEMU encrypts memory and storage");
  }
  if (tunnelled && migrateUri !== undefined) {
    throw usage("--tunnelled needs no --migrate-uri: everything takes the way of --to");
  }
  if (migrateUri !== undefined && !MIGRATE_URI.test(migrateUri)) {
    throw usage(
      `--migrate-uri ${printable(migrateUri)} is not understood`,
      "it is tcp://HOST, rdma://HOST or unix:///SOCKET",
    );
  }
  if (disksUri !== undefined && !DISKS_URI.test(disksUri)) {
    throw usage(
      `--disks-uri ${printable(disksUri)} is not understood`,
      "it is tcp://HOST:PORT or unix:///SOCKET",
    );
  }
  if (disksUri !== undefined && !copyStorage) throw usage("--disks-uri needs --copy-storage");
  if (copyStorage && isSocket(migrateUri) && disksUri === undefined) {
    throw usage(
      "--copy-storage with a socket as --migrate-uri needs a --disks-uri",
      "a second socket: --disks-uri unix:///SOCKET",
    );
  }
}

/** libvirt still takes the form without slashes, `tcp:HOST`, which its own older versions sent each other. */
const MIGRATE_URI = /^(?:tcp:(?:\/\/)?[^/]|rdma:\/\/[^/]|unix:\/\/\/.)/;
const DISKS_URI = /^(?:tcp:\/\/[^/]|unix:\/\/\/.)/;

/** What a guest that runs sends, and who can read it on the way. */
export function wiresOf(route: MigrationRoute): Wire[] {
  const { copyStorage, migrateUri, disksUri } = route;
  const memory = route.tunnelled ? tunnel(route) : direct(route, migrateUri);
  if (!copyStorage) return [{ carries: "memory", ...memory }];
  // without a URI of its own, storage goes to the host that memory goes to, and never by RDMA
  const uri = disksUri ?? migrateUri?.replace(/^rdma:/, "tcp:");
  return [
    { carries: "memory", ...memory },
    { carries: "storage", ...direct(route, uri) },
  ];
}

type Protection = Pick<Wire, "protection" | "by">;

function tunnel({ target: { transport }, tls }: MigrationRoute): Protection {
  if (tls) return BY_QEMU;
  switch (transport) {
    case "tls":
      return { protection: "encrypted", by: "by libvirt's TLS, which it is tunnelled through" };
    case "ssh":
      return { protection: "encrypted", by: "by SSH, which it is tunnelled through" };
    case "tcp":
      return {
        protection: "unknown",
        by: "it is tunnelled through plain TCP, which nothing but SASL can encrypt",
      };
    case "unix":
      return { protection: "socket", by: "through the socket that --to names" };
    case "command":
      return { protection: "unknown", by: "it is tunnelled through the command that --to names" };
  }
}

function direct({ target, tls }: MigrationRoute, uri: string | undefined): Protection {
  // QEMU's RDMA transport has no TLS, and says nothing when it is asked for it
  if (uri?.startsWith("rdma:")) return { protection: "plaintext", by: "QEMU never encrypts RDMA" };
  if (tls) return BY_QEMU;
  if (isSocket(uri)) return { protection: "socket", by: `through ${uri}` };
  const own = "QEMU sends over TCP connections of its own";
  const carrier =
    target.transport === "tls" ? "libvirt's TLS" : target.transport === "ssh" ? "SSH" : undefined;
  const why = carrier ? `; ${carrier} encrypts only what the two libvirts say to each other` : "";
  return { protection: "plaintext", by: `${own}${why}` };
}

const BY_QEMU: Protection = { protection: "encrypted", by: "by QEMU's TLS" };

function isSocket(uri: string | undefined): uri is string {
  return uri?.startsWith("unix:") ?? false;
}

function usage(what: string, hint?: string): LuksmithError {
  return new LuksmithError("USAGE", { what, ...(hint === undefined ? {} : { hint }) });
}
