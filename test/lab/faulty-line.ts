import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { setTimeout } from "node:timers/promises";

/** What happens to bytes between a client and a server. */
export type Weather =
  | { readonly kind: "fine" }
  /** Every piece comes `milliseconds` later, each way. */
  | { readonly kind: "slow"; readonly milliseconds: number }
  /** Connections are taken, and nothing passes. */
  | { readonly kind: "hang" }
  /** Connections are closed at once, with a reset. */
  | { readonly kind: "reset" }
  /** Requests reach the server, and the connection is reset when so many bytes of the answer have passed. */
  | { readonly kind: "cut"; readonly after: number }
  /** The server's bytes are changed on the way; without TLS the client cannot know but by their sense. */
  | { readonly kind: "corrupt"; readonly change: (answer: Buffer) => Buffer };

/** A line to a real server, on which a test makes the weather. */
export interface FaultyLine extends AsyncDisposable {
  readonly port: number;
  weather: Weather;
  /** How many connections were made. */
  readonly connections: number;
}

const HOST = "127.0.0.1";

export async function startFaultyLine(target: { readonly port: number }): Promise<FaultyLine> {
  const open = new Set<Socket>();
  let connections = 0;
  const server = createServer((client) => {
    connections++;
    const upstream = connect(target.port, HOST);
    for (const socket of [client, upstream]) {
      open.add(socket);
      socket.on("error", () => undefined);
      socket.on("close", () => {
        open.delete(socket);
        for (const other of [client, upstream]) if (other !== socket) other.end();
      });
    }
    if (line.weather.kind === "reset") client.resetAndDestroy();
    let passed = 0;
    pipe(client, upstream, (bytes) => bytes);
    pipe(upstream, client, (bytes) => {
      const { weather } = line;
      if (weather.kind === "corrupt") return weather.change(bytes);
      if (weather.kind !== "cut") return bytes;
      const rest = weather.after - passed;
      passed += bytes.length;
      if (rest > bytes.length) return bytes;
      setImmediate(() => client.resetAndDestroy());
      return bytes.subarray(0, Math.max(0, rest));
    });
  });
  const pipe = (from: Socket, to: Socket, change: (bytes: Buffer) => Buffer) => {
    let last = Promise.resolve();
    from.on("data", (bytes: Buffer) => {
      const { weather } = line;
      if (weather.kind === "hang") return;
      const pass = async () => {
        if (weather.kind === "slow") await setTimeout(weather.milliseconds, undefined, { ref: false });
        if (!to.destroyed) to.write(change(bytes));
      };
      last = last.then(pass);
    });
  };
  server.listen(0, HOST);
  await once(server, "listening");
  const line = {
    port: (server.address() as AddressInfo).port,
    weather: { kind: "fine" } as Weather,
    get connections() {
      return connections;
    },
    async [Symbol.asyncDispose]() {
      for (const socket of open) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
  return line;
}
