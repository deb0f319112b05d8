import type { IncomingHttpHeaders, ServerHttp2Stream } from "node:http2";
import type { Server } from "@grpc/grpc-js";
import { limits } from "../platform/limits.js";
import { tapHttp2Servers } from "./http2-windows.js";

/** The units of grpc-timeout, in milliseconds. Source: gRPC over HTTP/2. */
const unitMs: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1_000, m: 1, u: 0.001, n: 0.000_001 };

const hourMs = 3_600_000;

/** The longest deadline in whole hours that a timer can hold: eight digits, as many as the header may have, do not hold it in milliseconds. */
const longestTimeout = `${Math.floor(limits.timerMaxMs / hourMs)}H`;

/**
 * Shortens deadlines beyond `limits.timerMaxMs` to it. grpc-js reads the header with `| 0`: a deadline of 30 days becomes one in the past, and the
 * stream ends as soon as it begins (node-grpc.md row 10). Call it before the server binds.
 */
export function shortenLongDeadlines(server: Server): void {
  tapHttp2Servers(server, (http2Server) => {
    // Listeners share the headers, and this one comes before that of grpc-js.
    http2Server.prependListener("stream", (_stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => {
      if (isTooLong(headers["grpc-timeout"])) headers["grpc-timeout"] = longestTimeout;
    });
  });
}

/** Whether a timer cannot hold it. What is no timeout at all is left to grpc-js, which refuses it. */
export function isTooLong(timeout: string | string[] | undefined): boolean {
  const match = typeof timeout === "string" ? /^(\d{1,8})([HMSmun])$/.exec(timeout) : null;
  return match !== null && Number(match[1]) * (unitMs[match[2] ?? ""] ?? 0) > limits.timerMaxMs;
}
