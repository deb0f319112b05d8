import type { IncomingHttpHeaders, OutgoingHttpHeaders } from "node:http2";
import { CoordinatorError } from "../platform/errors.js";
import { parseRequestId } from "../platform/request-id.js";
import { mintUuidV7 } from "../platform/uuid-v7.js";
import type { GrpcService } from "./adapt-grpc.js";
import { toGrpcStatus } from "./status.js";

/** Judges a call by the headers that opened its stream: what to answer instead of it, or undefined to let it in. */
export type StreamJudge = (headers: IncomingHttpHeaders) => OutgoingHttpHeaders | undefined;

/**
 * Refuses a credential before anything of a message has been read. The handlers judge it too, but grpc-js asks them only once a message is whole, and keeps what
 * came of it until then: 4 MiB for each stream of a caller who may send nothing at all. What no service of ours is asked for is left to grpc-js.
 */
export function judgeCallers(services: readonly Pick<GrpcService, "typeName" | "authenticate">[]): StreamJudge {
  const byTypeName = new Map(services.map(({ typeName, authenticate }) => [typeName, authenticate]));
  return (headers) => {
    const path = headers[":path"] ?? "";
    const authenticate = byTypeName.get(path.slice(1, path.lastIndexOf("/")));
    try {
      authenticate?.(headers.authorization);
      return undefined;
    } catch (thrown) {
      // Translates a refusal into the headers of an answer; a bug of ours is met again, and logged, by the call itself.
      return thrown instanceof CoordinatorError ? refusalHeaders(thrown, headers["x-request-id"]) : undefined;
    }
  };
}

/** An answer that ends with its headers. Source: gRPC over HTTP/2, "Trailers-Only". */
function refusalHeaders(error: CoordinatorError, requestId: string | string[] | undefined): OutgoingHttpHeaders {
  const known = typeof requestId === "string" ? parseRequestId(requestId) : undefined;
  const { code, details, metadata } = toGrpcStatus(error, known ?? mintUuidV7());
  return {
    ":status": 200,
    "content-type": "application/grpc+proto",
    "grpc-status": code,
    "grpc-message": encodeURI(details),
    ...metadata.toHttp2Headers(),
  };
}
