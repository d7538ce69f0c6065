import type { Server } from "node:http";
import type { Socket } from "node:net";

/** A tab has six. */
const MOST = 64;

/**
 * As many as take little of the host's memory. Other users of the host can open all of them, and keep nobody out: where
 * there are too many, the oldest that has shown no session is closed.
 */
export class Connections {
  readonly #strangers = new Set<Socket>();
  #count = 0;

  constructor(server: Server) {
    server.on("connection", (socket) => this.#add(socket));
  }

  /** It has shown the session. */
  keep(socket: Socket): void {
    this.#strangers.delete(socket);
  }

  #add(socket: Socket): void {
    this.#count += 1;
    this.#strangers.add(socket);
    socket.once("close", () => {
      this.#count -= 1;
      this.#strangers.delete(socket);
    });
    if (this.#count <= MOST) return;
    const [oldest] = this.#strangers;
    oldest?.destroy();
  }
}
