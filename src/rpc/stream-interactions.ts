import type { ServerDuplexStream } from "@grpc/grpc-js";
import type { StreamInteractionsRequest } from "../../gen/mcp/coordinator/v1/interaction_service_pb.js";
import type { Fleet } from "../hub/fleet.js";
import type { StreamSession } from "../hub/stream-session.js";
import type { Transport } from "../hub/surroundings.js";
import type { Logger } from "../platform/log.js";
import { parseClientFrame, type ServerFrame } from "../wire/frame.js";
import type { BidiHandler } from "./adapt-grpc.js";
import type { Decoded } from "./grpc-definition.js";
import { logRefusal, refusalOf, toGrpcStatus, undecodableError } from "./status.js";
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
    reset: () => resetStream(call),
  };
}

/**
 * Resets the HTTP/2 stream under a call whose peer reads nothing, not even its status: grpc-js has no public way (node-grpc.md row 2), so this reaches
 * for the two private fields between the call and its stream, and does nothing where they have moved. Held by test/story/slow-consumer.test.ts.
 */
function resetStream(call: StreamCall): void {
  const inner = call as unknown as { readonly call?: { readonly stream?: { readonly close?: (code: number) => void } } };
  inner.call?.stream?.close?.(enhanceYourCalm);
}

/** HTTP/2 error code ENHANCE_YOUR_CALM, RFC 9113 section 7. */
const enhanceYourCalm = 0xb;
