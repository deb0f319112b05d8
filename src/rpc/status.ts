import { create, type DescMessage, type MessageInitShape, type MessageShape, toBinary } from "@bufbuild/protobuf";
import { anyPack, durationFromMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { Metadata } from "@grpc/grpc-js";
import {
  BadRequestSchema,
  ErrorInfoSchema,
  QuotaFailureSchema,
  RequestInfoSchema,
  RetryInfoSchema,
} from "../../gen/google/rpc/error_details_pb.js";
import { type Status, StatusSchema } from "../../gen/google/rpc/status_pb.js";
import { CoordinatorError, type ErrorCode, errorTable, type FieldFault } from "../platform/errors.js";
import { limits } from "../platform/limits.js";
import type { Logger } from "../platform/log.js";
import type { Decoded } from "./grpc-definition.js";

/** The domain of every ErrorInfo; the contract names it. */
export const errorDomain = "coordinator.mcp.v1";

/** Every code of ours is a code of Connect: a canonical number that Connect does not know would not compile. */
export const connectCodes = {
  invalid: Code.InvalidArgument,
  unauthenticated: Code.Unauthenticated,
  forbidden: Code.PermissionDenied,
  not_found: Code.NotFound,
  failed_precondition: Code.FailedPrecondition,
  conflict: Code.AlreadyExists,
  busy: Code.ResourceExhausted,
  unavailable: Code.Unavailable,
  late: Code.DeadlineExceeded,
  gone: Code.OutOfRange,
  broken: Code.Internal,
} as const satisfies Record<ErrorCode, Code>;

/** A refusal as grpc-js sends it. `metadata` holds grpc-status-details-bin and x-request-id. */
export type GrpcStatus = { readonly code: number; readonly details: string; readonly metadata: Metadata };

/** The refusal of bytes that are not a message of the declared type. */
export function undecodableError(frame: Extract<Decoded<unknown>, { kind: "undecodable" }>): CoordinatorError {
  return new CoordinatorError("invalid", frame.error, { reason: frame.reason, metadata: { bytes: String(frame.bytes) } });
}

/** The refusal for grpc-js. Set `emit("error", …)` or the callback's error to it. */
export function toGrpcStatus(error: CoordinatorError, requestId: string): GrpcStatus {
  const status = toRpcStatus(error, requestId);
  const metadata = new Metadata();
  metadata.set("grpc-status-details-bin", Buffer.from(toBinary(StatusSchema, status)));
  metadata.set("x-request-id", requestId);
  return { code: status.code, details: status.message, metadata };
}

/** The same refusal for Connect and gRPC-Web. */
export function toConnectError(error: CoordinatorError, requestId: string): ConnectError {
  const fields = error.fields.slice(0, limits.violationMaxCount);
  const details = detailsOf(error, requestId, fields).map(({ desc, message }) => ({ desc, value: message }));
  return new ConnectError(messageOf(error), connectCodes[error.code], { "x-request-id": requestId }, details);
}

/** Writes down what the caller is not told: bugs with their cause, and the store's faults. Refusals of the caller's own doing are not logged. */
export function logRefusal(log: Logger, error: CoordinatorError, call: { readonly rpc: string; readonly requestId: string }): void {
  if (error.code === "broken") log.error({ ...call, err: error.cause ?? error }, "a call failed on a bug of the coordinator");
  else if (error.cause !== undefined) log.warn({ ...call, err: error.cause, reason: error.reason }, "a call failed");
}

/** The refusal as google.rpc.Status, at most `limits.statusDetailsMaxBytes` long: named fields are dropped from the end until it fits. */
export function toRpcStatus(error: CoordinatorError, requestId: string): Status {
  let fields = error.fields.slice(0, limits.violationMaxCount);
  for (;;) {
    const status = create(StatusSchema, {
      code: errorTable[error.code].grpc,
      message: messageOf(error),
      details: detailsOf(error, requestId, fields).map(({ desc, message }) => anyPack(desc, message)),
    });
    if (fields.length === 0 || toBinary(StatusSchema, status).byteLength <= limits.statusDetailsMaxBytes) return status;
    fields = fields.slice(0, -1);
  }
}

type Detail = { readonly desc: DescMessage; readonly message: MessageShape<DescMessage> };

function detail<D extends DescMessage>(desc: D, init: MessageInitShape<D>): Detail {
  return { desc, message: create(desc, init) };
}

/** ErrorInfo always, RequestInfo always, the others where they apply. */
function detailsOf(error: CoordinatorError, requestId: string, fields: readonly FieldFault[]): readonly Detail[] {
  const isHidden = error.code === "broken";
  const metadata = isHidden ? {} : Object.fromEntries(Object.entries(error.metadata).map(([key, value]) => [key, shortText(value)]));
  const details = [detail(ErrorInfoSchema, { reason: isHidden ? "INTERNAL" : error.reason, domain: errorDomain, metadata })];
  if (!isHidden && fields.length > 0) details.push(detail(BadRequestSchema, { fieldViolations: fields.map(shortFault) }));
  if (!isHidden && error.retryAfterMs !== undefined) {
    details.push(detail(RetryInfoSchema, { retryDelay: durationFromMs(error.retryAfterMs) }));
  }
  if (!isHidden && error.quota !== undefined) {
    const { subject, description } = error.quota;
    details.push(detail(QuotaFailureSchema, { violations: [{ subject: shortText(subject), description: shortText(description) }] }));
  }
  details.push(detail(RequestInfoSchema, { requestId }));
  return details;
}

/** A fault with its texts cut to what a header may hold. */
function shortFault(fault: FieldFault): FieldFault {
  return { field: shortText(fault.field), reason: fault.reason, description: shortText(fault.description) };
}

function shortText(text: string): string {
  return wellFormed(text.slice(0, limits.idMaxBytes));
}

/** The sentence for people. What a bug of ours says stays in the log. */
function messageOf(error: CoordinatorError): string {
  return error.code === "broken" ? "internal error" : wellFormed(error.message.slice(0, limits.statusMessageMaxChars));
}

/** Halves of surrogate pairs replaced: grpc-js encodes messages with encodeURI, which throws on them. */
function wellFormed(text: string): string {
  return text.replace(/\p{Surrogate}/gu, "\ufffd");
}
