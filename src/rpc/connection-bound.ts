import type { Server } from "@grpc/grpc-js";
import type { Clock } from "../platform/clock.js";
import { limits } from "../platform/limits.js";
import type { Logger } from "../platform/log.js";
import { tapHttp2Servers } from "./http2-windows.js";

/** Connections of the gRPC port: those that are open, and those that were refused since the start. */
export type ConnectionFigures = { readonly open: number; readonly refused: number };

/**
 * How many connections the gRPC port takes. One more is closed before anything of it is read, TLS and HTTP/2 included, and its client tries again with its own
 * backoff; those that are open are not touched. Of a host name with several addresses, each takes so many.
 */
export class ConnectionBound {
  readonly #max: number;
  readonly #clock: Pick<Clock, "monotonicMs">;
  readonly #log: Logger;
  #open = 0;
  #refused = 0;
  #quietUntilMs = Number.NEGATIVE_INFINITY;

  constructor(max: number, clock: Pick<Clock, "monotonicMs">, log: Logger) {
    this.#max = max;
    this.#clock = clock;
    this.#log = log;
  }

  get figures(): ConnectionFigures {
    return { open: this.#open, refused: this.#refused };
  }

  /** Puts the bound in force. Call it before the server binds. */
  keep(server: Server): void {
    tapHttp2Servers(server, (http2Server) => {
      http2Server.maxConnections = this.#max;
      http2Server.on("connection", (socket) => {
        this.#open += 1;
        socket.once("close", () => {
          this.#open -= 1;
        });
      });
      http2Server.on("drop", () => this.#refuse());
    });
  }

  /** A line a second: whoever is refused comes again at once. */
  #refuse(): void {
    this.#refused += 1;
    const nowMs = this.#clock.monotonicMs();
    if (nowMs < this.#quietUntilMs) return;
    this.#quietUntilMs = nowMs + limits.misconductLogMs;
    this.#log.warn(
      { ...this.figures, max: this.#max },
      "a connection was refused: the gRPC port has as many as server.max_connections allows",
    );
  }
}
