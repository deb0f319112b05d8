import { constants } from "node:http2";
import type { ServerDuplexStream } from "@grpc/grpc-js";
import type { StreamInteractionsRequest } from "../../gen/mcp/coordinator/v1/interaction_service_pb.js";
import type { Fleet } from "../hub/fleet.js";
import type { StreamSession } from "../hub/stream-session.js";
import type { Transport } from "../hub/surroundings.js";
import type { Logger } from "../platform/log.js";
import { refusalOf } from "../store/refusal.js";
import { parseClientFrame } from "../wire/frame.js";
import type { ServerFrame } from "../wire/server-frame.js";
import type { BidiHandler } from "./adapt-grpc.js";
import type { Decoded } from "./grpc-definition.js";
import { http2StreamOf } from "./http2-stream-of.js";
import { logRefusal, toGrpcStatus, undecodableError } from "./status.js";
import { createUndecodableLog, type UndecodableLog } from "./undecodable-log.js";

const rpc = "/mcp.coordinator.v1.InteractionService/StreamInteractions";

type StreamCall = ServerDuplexStream<Decoded<StreamInteractionsRequest>, ServerFrame>;

/** Binds grpc-js streams to sessions of the fleet. */
export function streamInteractions(log: Logger, fleet: Pick<Fleet, "admit">): BidiHandler<StreamInteractionsRequest, ServerFrame> {
  const logUndecodable = createUndecodableLog(log);
  return (call, context) => {
    const session = fleet.admit(context.principal, createTransport(log, call, context.requestId));
    listen(call, session, logUndecodable, context.requestId);
    context.signal.addEventListener("abort", () => session.failed(refusalOf(context.signal.reason)), { once: true });
    if (context.timeoutMs !== undefined) session.warnOfDeadline();
  };
}

/**
 * The events of the call, each to the one place that handles it. A write that is under way when the peer cancels is never called back (grpc-js drops
 * the callback), so nothing here waits for one: `unblocked` comes from 'drain', and 'cancelled' and 'close' both end the session.
 */
function listen(call: StreamCall, session: StreamSession, logUndecodable: UndecodableLog, requestId: string): void {
  call.on("data", (decoded: Decoded<StreamInteractionsRequest>) => {
    if (decoded.kind === "undecodable") {
      logUndecodable(decoded, { rpc, requestId });
      session.failed(undecodableError(decoded));
    } else {
      session.received(parseClientFrame(decoded.message, decoded.bytes));
    }
  });
  call.on("end", () => session.halfClosed());
  call.on("drain", () => session.unblocked());
  call.on("cancelled", () => session.gone());
  call.on("close", () => session.gone());
}

function createTransport(log: Logger, call: StreamCall, requestId: string): Transport {
  return {
    write: (frame) => call.write(frame),
    pause: () => {
      call.pause();
    },
    resume: () => {
      call.resume();
    },
    end: () => {
      call.end();
      call.resume(); // what the peer still sends is dropped, so that the stream can end
    },
    fail: (error) => {
      logRefusal(log, error, { rpc, requestId });
      call.emit("error", toGrpcStatus(error, requestId)); // grpc-js takes the status of a stream from its error event
      call.resume();
    },
    reset: () => http2StreamOf(call)?.close(constants.NGHTTP2_ENHANCE_YOUR_CALM),
    // close() sends GOAWAY naming the newest stream, takes no more, and lets those that are open go on; a connection that is gone takes no more already.
    retireConnection: () => {
      const connection = http2StreamOf(call)?.session;
      if (connection !== undefined && !connection.closed) connection.close();
    },
    connection: http2StreamOf(call)?.session,
  };
}
