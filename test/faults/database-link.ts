import type { Socket } from "node:net";
import { startSocketRelay } from "../support/socket-relay.js";

/**
 * When a connection is cut under an append. `sent`: the statement has left for the server, and nobody knows whether it will commit. `committed`: the
 * server has committed and its answer is dropped.
 */
export type AppendCut = "sent" | "committed";

/** The link between coordinators and Postgres: a proxy that reads the protocol, so that it can break exactly where it hurts. */
export type DatabaseLink = {
  readonly port: number;
  /** `pass`; `hold`: nothing moves and nothing is closed (half-open), until it passes again; `close`: new connections are refused. */
  readonly set: (mode: LinkMode) => void;
  /** The server's answers take so much longer: slow commits. */
  readonly delayAnswers: (ms: number) => void;
  /** Cuts the connection of the next append; resolves once that has happened. */
  readonly cutNextAppend: (at: AppendCut) => Promise<void>;
  /** Resets all open connections. */
  readonly reset: () => void;
  readonly connectionCount: () => number;
  /** Appends whose answer went through, and those that were cut. */
  readonly counts: { answered: number; cut: number };
  readonly [Symbol.asyncDispose]: () => Promise<void>;
};

type Armed = { readonly at: AppendCut; readonly done: () => void };
type LinkMode = "pass" | "hold" | "close";
type LinkState = { mode: LinkMode; delayMs: number; readonly armed: Armed[]; readonly counts: DatabaseLink["counts"] };

/** What marks the ingest statement among all others. */
const appendMark = "INSERT INTO interaction_event";

/** A link to a Postgres on this machine, without TLS. */
export async function startDatabaseLink(targetPort: number): Promise<DatabaseLink> {
  const state: LinkState = { mode: "pass", delayMs: 0, armed: [], counts: { answered: 0, cut: 0 } };
  const relay = await startSocketRelay((client, open) => {
    if (state.mode === "close") return void client.destroy();
    joinConnection(client, open(targetPort), state);
  });
  const { sockets } = relay;
  return {
    port: relay.port,
    counts: state.counts,
    set: (mode) => {
      state.mode = mode;
      for (const socket of sockets) mode === "hold" ? socket.pause() : socket.resume();
    },
    delayAnswers: (ms) => {
      state.delayMs = ms;
    },
    cutNextAppend: (at) => new Promise((done) => state.armed.push({ at, done })),
    reset: () => {
      for (const socket of sockets) socket.resetAndDestroy();
    },
    connectionCount: relay.connectionCount,
    [Symbol.asyncDispose]: relay.close,
  };
}

/** Forwards both ways and watches which statements are on their way. */
function joinConnection(client: Socket, upstream: Socket, state: LinkState): void {
  const appends = new Set<string>();
  let appendsInFlight = 0;
  const both = [client, upstream];
  const cut = (): void => {
    state.counts.cut += 1;
    state.armed.shift()?.done();
    for (const socket of both) socket.resetAndDestroy();
  };
  const fromClient = new MessageReader(true, (type, body) => {
    if (type === "P" && body.includes(appendMark)) appends.add(textAt(body, 0));
    if (type === "B" && appends.has(textAt(body, textAt(body, 0).length + 1))) appendsInFlight += 1;
    return type === "S" && appendsInFlight > 0 && state.armed[0]?.at === "sent";
  });
  const fromServer = new MessageReader(false, (type) => {
    if (type !== "Z" || appendsInFlight === 0) return false;
    appendsInFlight -= 1;
    if (state.armed[0]?.at === "committed") return true;
    state.counts.answered += 1;
    return false;
  });
  client.on("data", (bytes) => {
    const isCut = fromClient.read(bytes);
    upstream.write(bytes);
    // In the next turn, so that the bytes have left for the server.
    if (isCut) setImmediate(cut);
  });
  upstream.on("data", (bytes) => {
    if (fromServer.read(bytes)) return cut();
    if (state.delayMs === 0) client.write(bytes);
    else setTimeout(() => client.write(bytes), state.delayMs);
  });
  client.once("close", () => upstream.destroy());
  upstream.once("close", () => client.destroy());
  if (state.mode === "hold") for (const socket of both) socket.pause();
}

const textAt = (body: Buffer, start: number): string => body.toString("utf8", start, Math.max(start, body.indexOf(0, start)));

/** Finds the messages in one direction of a connection: a type byte, four bytes of length, a body. The client's first message has no type. */
class MessageReader {
  #rest: Buffer = Buffer.alloc(0);
  #isStartup: boolean;
  readonly #see: (type: string, body: Buffer) => boolean;

  constructor(isClient: boolean, see: (type: string, body: Buffer) => boolean) {
    this.#isStartup = isClient;
    this.#see = see;
  }

  /** True when `see` said so of a message that ends in these bytes. */
  read(bytes: Buffer): boolean {
    let data = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes]);
    let isMarked = false;
    for (;;) {
      const head = this.#isStartup ? 0 : 1;
      if (data.length < head + 4) break;
      const length = head + data.readUInt32BE(head);
      if (data.length < length) break;
      if (!this.#isStartup && this.#see(String.fromCharCode(data[0] ?? 0), data.subarray(5, length))) isMarked = true;
      this.#isStartup = false;
      data = data.subarray(length);
    }
    this.#rest = Buffer.from(data);
    return isMarked;
  }
}
