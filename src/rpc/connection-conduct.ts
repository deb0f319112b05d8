import {
  constants,
  type Http2SecureServer,
  type Http2Server,
  type Http2Session,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from "node:http2";
import type { Server } from "@grpc/grpc-js";
import { Allowance } from "../platform/allowance.js";
import type { Clock } from "../platform/clock.js";
import { limits } from "../platform/limits.js";
import type { Logger } from "../platform/log.js";
import type { StreamJudge } from "./front-door.js";
import { tapHttp2Servers } from "./http2-windows.js";

/** What a connection may do that costs us and brings nobody anything. */
type Conduct = { readonly resets: Allowance; readonly control: Allowance };

type Misconduct = "stream resets" | "control frames";

/**
 * Keeps the connections of a server to what a client may need: one that resets streams or sends PING and SETTINGS above the limits is ended with GOAWAY
 * ENHANCE_YOUR_CALM, and a stream that is reset at once never becomes a call. Node alone stops to answer after a rapid reset, and keeps the connection.
 * Call it before the server binds, and after what else listens for streams.
 */
export function guardConnections(server: Server, clock: Clock, log: Logger, judge: StreamJudge): void {
  const conducts = new WeakMap<Http2Session, Conduct>();
  let endedCount = 0;
  let quietUntilMs = Number.NEGATIVE_INFINITY;

  const end = (session: Http2Session, misconduct: Misconduct): void => {
    if (session.destroyed) return;
    session.goaway(constants.NGHTTP2_ENHANCE_YOUR_CALM);
    session.destroy();
    endedCount += 1;
    // A line a second: whoever opens a new connection at once must not fill a disk.
    if (clock.monotonicMs() < quietUntilMs) return;
    log.warn({ misconduct, endedCount }, "connections were ended: a peer does more of something than any client needs");
    quietUntilMs = clock.monotonicMs() + limits.misconductLogMs;
    endedCount = 0;
  };

  const watch = (session: ServerHttp2Session): void => {
    const nowMs = clock.monotonicMs();
    const conduct = { resets: new Allowance(limits.streamResets, nowMs), control: new Allowance(limits.controlFrames, nowMs) };
    conducts.set(session, conduct);
    const noteControl = (): void => {
      if (!conduct.control.take(clock.monotonicMs())) end(session, "control frames");
    };
    session.on("ping", noteControl);
    session.on("remoteSettings", noteControl);
  };

  const noteReset = (stream: ServerHttp2Stream, session: Http2Session | undefined): void => {
    if (session === undefined || stream.rstCode === constants.NGHTTP2_NO_ERROR) return;
    if (conducts.get(session)?.resets.take(clock.monotonicMs()) === false) end(session, "stream resets");
  };

  tapHttp2Servers(server, (http2Server) => {
    http2Server.on("session", watch);
    http2Server.once("listening", () => deferStreams(http2Server, judge, noteReset));
  });
}

type StreamListener = (stream: ServerHttp2Stream, headers: IncomingHttpHeaders, ...rest: unknown[]) => void;

/**
 * Puts the listeners for streams behind one turn of the event loop: everything that came in the same packet has been read by then, and a stream that was
 * opened and reset in it costs no call, no session and no response headers. What `judge` answers instead is the end of a stream. `closed` is told of every stream that ends.
 */
function deferStreams(
  http2Server: Http2Server | Http2SecureServer,
  judge: StreamJudge,
  closed: (stream: ServerHttp2Stream, session: Http2Session | undefined) => void,
): void {
  const listeners = http2Server.listeners("stream") as unknown as readonly StreamListener[]; // EventEmitter knows them as Function
  http2Server.removeAllListeners("stream");
  http2Server.on("stream", (stream: ServerHttp2Stream, headers: IncomingHttpHeaders, ...rest: unknown[]) => {
    const { session } = stream; // gone from a stream that is closed
    stream.once("close", () => closed(stream, session));
    const ignore = (): void => {};
    stream.on("error", ignore); // nobody else listens yet
    setImmediate(() => {
      if (stream.closed || stream.destroyed) return;
      const refusal = judge(headers);
      // Nothing of it was read, so Node resets it, without an error, once the answer has left.
      if (refusal !== undefined) return stream.respond(refusal, { endStream: true });
      stream.off("error", ignore);
      for (const listener of listeners) listener(stream, headers, ...rest);
    });
  });
}
