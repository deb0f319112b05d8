import type { Socket } from "node:net";
import { startSocketRelay } from "./socket-relay.js";

/** What a link does to the bytes of one direction; absent means nothing. */
export type LinkShape = {
  /** Every byte arrives so much later, order kept, and up to `jitterMs` later still. */
  readonly latencyMs?: number;
  readonly jitterMs?: number;
  readonly bytesPerSecond?: number;
  /** Bytes are written in pieces of 1 to so many. */
  readonly sliceMaxBytes?: number;
  /** Nothing moves and nothing is lost: what was sent arrives when the link is shaped anew, as TCP has it. */
  readonly isHeld?: boolean;
  /** The connection is reset once so many bytes have passed in this direction, counted from now. */
  readonly resetAfterBytes?: number;
};

export type LinkDirection = "up" | "down";

/** A proxy whose network can break. */
export type TcpProxy = {
  readonly port: number;
  readonly connectionCount: () => number;
  /**
   * `pass` forwards; `swallow` forwards nothing and closes nothing, like a cable that is cut; `close` ends each new connection at once.
   * Connections that were open stay.
   */
  readonly set: (mode: "pass" | "swallow" | "close") => void;
  /** Cuts every connection as soon as the server's next bytes arrive, instead of passing them on. */
  readonly cutAtNextAnswer: () => void;
  /** From now on, for open and new connections. `up` is what clients send. */
  readonly shape: (direction: LinkDirection, shape: LinkShape) => void;
  /** Ends open connections, all or the oldest so many: with FIN, or with RST as a router that forgot them. Returns how many. */
  readonly cut: (how: "close" | "reset", maxCount?: number) => number;
  readonly [Symbol.asyncDispose]: () => Promise<void>;
};

/** Most bytes that a direction of a connection keeps on their way; above it the sender is not read. */
const inFlightMaxBytes = 1024 * 1024;

/** A proxy to a port of this machine, or to the port that `pick` names for each new connection; undefined closes the connection at once. */
export async function startTcpProxy(target: number | (() => number | undefined), random: () => number = Math.random): Promise<TcpProxy> {
  let mode: "pass" | "swallow" | "close" = "pass";
  let isCutting = false;
  const shapes: Record<LinkDirection, LinkShape> = { up: {}, down: {} };
  const lanes = new Set<Lane>();
  const relay = await startSocketRelay((client, open) => {
    const port = typeof target === "number" ? target : target();
    if (mode === "close" || port === undefined) return void client.destroy();
    const upstream = open(port);
    const up = new Lane(client, upstream, () => shapes.up, random);
    const down = new Lane(upstream, client, () => shapes.down, random);
    lanes.add(up).add(down);
    client.on("data", (bytes) => {
      if (mode === "pass") up.push(bytes);
    });
    upstream.on("data", (bytes) => {
      if (isCutting) for (const socket of relay.sockets) socket.destroy();
      else if (mode === "pass") down.push(bytes);
    });
    client.once("close", () => {
      lanes.delete(up);
      upstream.destroy();
    });
    upstream.once("close", () => {
      lanes.delete(down);
      client.destroy();
    });
  });
  return {
    port: relay.port,
    connectionCount: relay.connectionCount,
    set: (next) => {
      mode = next;
      isCutting = false;
    },
    cutAtNextAnswer: () => {
      isCutting = true;
    },
    shape: (direction, shape) => {
      shapes[direction] = shape;
      for (const lane of lanes) lane.reshape();
    },
    cut: (how, maxCount = Number.POSITIVE_INFINITY) => {
      const open = [...relay.sockets].slice(0, maxCount * 2); // two sockets each, of its client and of its server
      for (const socket of open) how === "reset" ? socket.resetAndDestroy() : socket.destroy();
      return Math.ceil(open.length / 2);
    },
    [Symbol.asyncDispose]: relay.close,
  };
}

/** One direction of one connection. */
class Lane {
  readonly #from: Socket;
  readonly #to: Socket;
  readonly #shape: () => LinkShape;
  readonly #random: () => number;
  #queue: { readonly dueMs: number; readonly bytes: Buffer }[] = [];
  #queuedBytes = 0;
  #passedBytes = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(from: Socket, to: Socket, shape: () => LinkShape, random: () => number) {
    this.#from = from;
    this.#to = to;
    this.#shape = shape;
    this.#random = random;
    to.on("drain", () => this.#pump());
    from.once("close", () => clearTimeout(this.#timer));
  }

  push(bytes: Buffer): void {
    const { latencyMs = 0, jitterMs = 0, sliceMaxBytes } = this.#shape();
    const dueMs = performance.now() + latencyMs + jitterMs * this.#random();
    for (let at = 0; at < bytes.length; ) {
      const count = sliceMaxBytes === undefined ? bytes.length : 1 + Math.floor(this.#random() * sliceMaxBytes);
      this.#queue.push({ dueMs, bytes: bytes.subarray(at, at + count) });
      at += count;
    }
    this.#queuedBytes += bytes.length;
    if (this.#queuedBytes > inFlightMaxBytes) this.#from.pause();
    if (this.#timer === undefined) this.#pump();
  }

  /** The shape has changed: bytes are counted anew, and what was held may move. */
  reshape(): void {
    this.#passedBytes = 0;
    this.#pump();
  }

  #pump(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    let sent = 0;
    for (; sent < this.#queue.length; sent += 1) {
      const { isHeld, bytesPerSecond, sliceMaxBytes, resetAfterBytes } = this.#shape();
      const next = this.#queue[sent];
      if (next === undefined || isHeld === true || this.#to.destroyed || this.#to.writableNeedDrain) break;
      const waitMs = next.dueMs - performance.now();
      if (waitMs > 0) {
        this.#pumpIn(waitMs);
        break;
      }
      this.#passedBytes += next.bytes.length;
      if (resetAfterBytes !== undefined && this.#passedBytes > resetAfterBytes) {
        this.#to.resetAndDestroy();
        this.#from.resetAndDestroy();
        break;
      }
      this.#to.write(next.bytes);
      this.#queuedBytes -= next.bytes.length;
      if (bytesPerSecond !== undefined || (sliceMaxBytes !== undefined && sent % 64 === 63)) {
        this.#pumpIn(bytesPerSecond === undefined ? 0 : (next.bytes.length / bytesPerSecond) * 1_000);
        sent += 1;
        break;
      }
    }
    if (sent > 0) this.#queue.splice(0, sent);
    if (this.#queuedBytes <= inFlightMaxBytes / 2 && this.#from.isPaused()) this.#from.resume();
  }

  #pumpIn(ms: number): void {
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#pump();
    }, ms);
  }
}
