import type { ServerHttp2Stream } from "node:http2";
import { CoordinatorError } from "../platform/errors.js";
import { limits } from "../platform/limits.js";

/**
 * Calls of each connection whose answers have not left: what they compute at once, and what a peer that takes no answer makes us keep.
 * Bound: `max` for each connection. A call is counted out when its stream is closed, however that came.
 */
export class AnswersInHand {
  readonly #max: number;
  readonly #byConnection = new WeakMap<object, number>();

  constructor(max: number) {
    this.#max = max;
  }

  /** Counts a call in. Errors: `busy` with the quota; then nothing is counted. A call whose stream is gone, or cannot be told, is not counted. */
  enter(stream: ServerHttp2Stream | undefined): void {
    const connection = stream?.session;
    if (stream === undefined || connection === undefined || stream.closed) return;
    const count = this.#byConnection.get(connection) ?? 0;
    if (count >= this.#max) {
      const description = `a connection has ${this.#max} queries without an answer at most`;
      const quota = { subject: "connection", description };
      throw new CoordinatorError("busy", description, {
        reason: "CONNECTION_QUERIES_EXHAUSTED",
        retryAfterMs: limits.queryRetryMs,
        quota,
      });
    }
    this.#byConnection.set(connection, count + 1);
    stream.once("close", () => this.#byConnection.set(connection, (this.#byConnection.get(connection) ?? 1) - 1));
  }
}
