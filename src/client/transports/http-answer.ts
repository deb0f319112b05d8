import { fromBinary } from "@bufbuild/protobuf";
import type { EventAck } from "../../../gen/mcp/coordinator/v1/events_pb.js";
import { ReportInteractionsResponseSchema } from "../../../gen/mcp/coordinator/v1/interaction_service_pb.js";
import { limits } from "../../platform/limits.js";
import type { TlsFaultKind } from "../tls-fault.js";

/** An answer over HTTP, cut to what is read of it. `header` gives one by its name in lower case. */
export type HttpAnswer = { readonly status: number; readonly header: (name: string) => string | undefined; readonly body: Uint8Array };

/**
 * What an answer to a report means. `verdicts`: one for each event. `busy`: come back later, the coordinator works. `indigestible`: this body is refused, a smaller one
 * may not be. `unusable`: no way to report, whatever the body: a wrong key, an address where no coordinator is, a coordinator that cannot store now.
 */
export type HttpMeaning =
  | { readonly kind: "verdicts"; readonly acks: readonly EventAck[] }
  | { readonly kind: "busy"; readonly why: string; readonly retryAfterMs: number }
  | { readonly kind: "indigestible"; readonly why: string }
  | { readonly kind: "unusable"; readonly why: string; readonly retryAfterMs: number; readonly tls?: TlsFaultKind };

const protoType = "application/proto";
/** Retry-After of an answer that has none. */
const retryDefaultMs = 1_000;

/** Reads an answer to a report of `count` events. Total: nonsense is `unusable`, with what was seen.     Units: `nowMs` is wall time. */
export function readHttpAnswer(answer: HttpAnswer, count: number, nowMs: number): HttpMeaning {
  const { status } = answer;
  const type = typeOf(answer);
  const retryAfterMs = retryAfterOf(answer.header("retry-after"), nowMs);
  if (status === 200)
    return type === protoType ? readAcks(answer.body, count) : unusable(`what answers is no coordinator: 200 with ${type || "no type"}`);
  const error = type === "application/json" ? readError(answer.body) : undefined;
  const said = error === undefined ? `HTTP ${status}` : `${error.message} (HTTP ${status}, ${error.code})`;
  if (status === 413 || error?.code === "invalid_argument") return { kind: "indigestible", why: said };
  if (status === 429) return { kind: "busy", why: said, retryAfterMs };
  if (status === 401) return unusable(`the key was refused: ${said}; give apiKey a valid one`, retryAfterMs);
  if (status === 403) return unusable(`the key may not act for this mcp_id: ${said}; use the key of this MCP`, retryAfterMs);
  if (status === 407) return unusable(`a proxy in the way wants to be authenticated: ${said}`, retryAfterMs);
  if (status >= 300 && status < 400)
    return unusable(`redirects to ${answer.header("location") ?? "nowhere"}; use that address as coordinatorUrl`, retryAfterMs);
  if (error === undefined && status >= 500)
    return unusable(`${proxyOf(answer)} answers ${said}: no coordinator behind it, or none that is up`, retryAfterMs);
  if (error === undefined) return unusable(`what answers is no coordinator: ${said}; check coordinatorUrl`, retryAfterMs);
  return unusable(`the coordinator cannot take reports now: ${said}`, retryAfterMs);
}

/** Whether an answer to a probe shows a coordinator that takes the key; else why not. */
export function readProbeAnswer(answer: HttpAnswer, nowMs: number): string | undefined {
  if (answer.status === 200 && typeOf(answer) === protoType) return undefined;
  const meaning = readHttpAnswer(answer, 0, nowMs);
  return meaning.kind === "verdicts" ? undefined : meaning.why;
}

const unusable = (why: string, retryAfterMs = retryDefaultMs): HttpMeaning => ({ kind: "unusable", why, retryAfterMs });

const typeOf = ({ header }: HttpAnswer): string => (header("content-type") ?? "").split(";", 1)[0]?.trim().toLowerCase() ?? "";

const proxyOf = ({ header }: HttpAnswer): string => (header("via") === undefined ? "a proxy" : `the proxy ${header("via")}`);

function readAcks(body: Uint8Array, count: number): HttpMeaning {
  try {
    const { acks } = fromBinary(ReportInteractionsResponseSchema, body);
    if (acks.length === count) return { kind: "verdicts", acks };
    return unusable(`what answers is no coordinator: ${acks.length} verdicts on ${count} events`);
  } catch {
    // Translates: bytes that are no message are nonsense.
    return unusable("what answers is no coordinator: the answer is not the message that it says it is");
  }
}

/** The error of the Connect protocol; undefined when the body is none. */
function readError(body: Uint8Array): { readonly code: string; readonly message: string } | undefined {
  try {
    const value: unknown = JSON.parse(Buffer.from(body).toString("utf8"));
    if (typeof value !== "object" || value === null || !("code" in value) || typeof value.code !== "string") return undefined;
    const message = "message" in value && typeof value.message === "string" ? value.message : "";
    return { code: value.code, message: message.slice(0, limits.statusMessageMaxChars) };
  } catch {
    // Translates: not JSON, so not an error of the protocol.
    return undefined;
  }
}

/** Seconds, or a date. Source: RFC 9110, 10.2.3. */
function retryAfterOf(header: string | undefined, nowMs: number): number {
  if (header === undefined) return retryDefaultMs;
  const ms = /^\d+$/.test(header.trim()) ? Number(header) * 1_000 : Date.parse(header) - nowMs;
  return Number.isFinite(ms) ? Math.min(Math.max(0, ms), limits.retryAfterMaxMs) : retryDefaultMs;
}
