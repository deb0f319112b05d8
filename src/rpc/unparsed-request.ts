import type { Server, ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import { answerOfError, envelopeOf } from "../intake/http/envelope.js";
import type { Clock } from "../platform/clock.js";
import { CoordinatorError } from "../platform/errors.js";
import { limits } from "../platform/limits.js";
import { mintUuidV7 } from "../platform/uuid-v7.js";

/** What Node's parser says of bytes that are no request, each with the HTTP status and the error of ours. Source: Node's http documentation, event "clientError". */
const meanings: Readonly<Record<string, { readonly status: number; readonly error: CoordinatorError }>> = {
  HPE_HEADER_OVERFLOW: {
    status: 431,
    error: new CoordinatorError("invalid", `the headers exceed ${limits.webHeaderMaxBytes} bytes`, { reason: "MESSAGE_TOO_LARGE" }),
  },
  HPE_CHUNK_EXTENSIONS_OVERFLOW: {
    status: 413,
    error: new CoordinatorError("invalid", "the chunk extensions of the body exceed 16 KiB", { reason: "MESSAGE_TOO_LARGE" }),
  },
  ERR_HTTP_REQUEST_TIMEOUT: {
    status: 408,
    error: new CoordinatorError(
      "late",
      `the request did not arrive in time: headers within ${limits.webHeadersMaxMs} ms, all of it within ${limits.webRequestMaxMs} ms`,
      { reason: "DEADLINE_EXCEEDED" },
    ),
  },
};

/**
 * Answers bytes that never become a request with the envelope that every other answer has, and closes the connection. An answer that is under way to a request before them
 * on the connection is given first; one that has begun is not written into. Nothing is written to a caller who has gone.
 */
export function refuseUnparsed(server: Server, clock: Pick<Clock, "nowMs">): void {
  const underWay = new WeakMap<Duplex, ServerResponse>();
  server.on("request", (request, response) => underWay.set(request.socket, response));
  server.on("clientError", (fault: NodeJS.ErrnoException, socket) => {
    const before = underWay.get(socket);
    if (before === undefined || before.writableFinished) refuse(fault, socket, clock);
    // Its request is whole: it is answered as if nothing had come behind it. One that is not whole is what the parser has given up.
    else if (before.req.complete) before.once("close", () => refuse(fault, socket, clock));
    else if (before.headersSent) socket.destroy(fault);
    else refuse(fault, socket, clock);
  });
}

function refuse(fault: NodeJS.ErrnoException, socket: Duplex, clock: Pick<Clock, "nowMs">): void {
  if (fault.code === "ECONNRESET" || !socket.writable) {
    socket.destroy(fault);
    return;
  }
  const { status, error } = meanings[fault.code ?? ""] ?? { status: 400, error: notHttp(fault) };
  const requestId = mintUuidV7();
  const answer = answerOfError(error, { status });
  const body = JSON.stringify(envelopeOf(answer, { requestId, nowMs: clock.nowMs(), durationMs: 0 }));
  const head = [
    `HTTP/1.1 ${status} ${phrases[status] ?? "Bad Request"}`,
    "content-type: application/json",
    `content-length: ${Buffer.byteLength(body)}`,
    `date: ${new Date(clock.nowMs()).toUTCString()}`,
    `x-request-id: ${requestId}`,
    "connection: close",
  ];
  // The end of what is sent, not of what is read: a caller that still writes may read the answer, and the socket goes when it has been written.
  socket.end(`${head.join("\r\n")}\r\n\r\n${body}`, () => socket.destroy());
}

const phrases: Readonly<Record<number, string>> = {
  400: "Bad Request",
  408: "Request Timeout",
  413: "Payload Too Large",
  431: "Request Header Fields Too Large",
};

/** The parser's words are about its state and not about the request; its code is what can be looked up. */
function notHttp({ code }: NodeJS.ErrnoException): CoordinatorError {
  const named = code === undefined ? "" : ` (${code})`;
  return new CoordinatorError("invalid", `what was sent is no request of HTTP/1.1${named}`, { reason: "UNDECODABLE_FRAME" });
}
