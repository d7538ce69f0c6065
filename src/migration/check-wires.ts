import { type CheckFinding, ok, warning } from "./check-finding.js";
import type { MigrationRoute, Wire } from "./transport.js";

/** Whether what a guest that runs sends can be read on its way. What goes the same way is one finding. */
export function wireFindings(wires: readonly Wire[], route: MigrationRoute): CheckFinding[] {
  const [memory, storage] = wires;
  if (memory === undefined) return [];
  if (storage === undefined) return [wireFinding(memory, ONE.memory, route)];
  const isSameWay = memory.protection === storage.protection && memory.by === storage.by;
  if (isSameWay) return [wireFinding(memory, BOTH, route)];
  return [wireFinding(memory, ONE.memory, route), wireFinding(storage, ONE.storage, route)];
}

interface Subject {
  readonly name: string;
  readonly is: "is" | "are";
  readonly crosses: "crosses" | "cross";
}

const ONE = {
  memory: { name: "the guest's memory", is: "is", crosses: "crosses" },
  storage: { name: "the content of its disks", is: "is", crosses: "crosses" },
} as const satisfies Record<Wire["carries"], Subject>;

const BOTH: Subject = { name: `${ONE.memory.name} and ${ONE.storage.name}`, is: "are", crosses: "cross" };

function wireFinding(wire: Wire, { name, is, crosses }: Subject, route: MigrationRoute): CheckFinding {
  const { carries, protection, by } = wire;
  switch (protection) {
    case "encrypted": {
      const what = `${name} ${is} encrypted on the way, ${by}`;
      if (!route.tls) return ok(carries, { what });
      const hint =
        "migrate_tls_x509_cert_dir in qemu.conf; without them the migration ends before it sends anything";
      return ok(carries, { what: `${what}, if both hosts have certificates`, hint });
    }
    case "socket": {
      const hint = "whoever carries it on from there must encrypt it";
      return ok(carries, { what: `${name} ${is} not encrypted when leaving QEMU, ${by}`, hint });
    }
    case "plaintext": {
      const what = `${name} ${crosses} the network in plaintext`;
      return warning(carries, { what, why: by, hint: howToEncrypt(route) });
    }
    case "unknown": {
      const what = `nobody here can tell whether ${name} ${is} encrypted on the way`;
      return warning(carries, { what, why: by, hint: howToEncrypt(route) });
    }
  }
}

function howToEncrypt({ target, copyStorage, migrateUri }: MigrationRoute): string {
  const tls = "use --tls, with certificates on both hosts (migrate_tls_x509_cert_dir in qemu.conf)";
  if (migrateUri?.startsWith("rdma:")) return `migrate over TCP (--migrate-uri tcp://HOST), and ${tls}`;
  if (copyStorage) return tls;
  const carrier = target.transport === "tls" || target.transport === "ssh";
  return `${tls}; or --tunnelled${carrier ? "" : " with qemu+tls or qemu+ssh in the URI of --to"}`;
}
