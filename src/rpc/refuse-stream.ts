import type { IncomingMessage, ServerResponse } from "node:http";
import type { DescMethod, DescService } from "@bufbuild/protobuf";

/** `UNIMPLEMENTED` of the canonical codes. */
const grpcUnimplemented = "12";
/** Flag of the last envelope of a Connect stream. Source: Connect protocol reference, "Streaming RPCs". */
const connectEndStreamFlag = 2;

/** The paths of the RPCs of `services` that are of one of `kinds`. */
export function pathsOf(services: readonly DescService[], kinds: readonly DescMethod["methodKind"][]): ReadonlySet<string> {
  const methods = services.flatMap((service) => service.methods).filter((method) => kinds.includes(method.methodKind));
  return new Set(methods.map((method) => `/${method.parent.typeName}/${method.name}`));
}

/** Refuses a bidirectional RPC, which HTTP/1.1 and browsers cannot carry: UNIMPLEMENTED in the words of the protocol that asked: gRPC-Web, Connect streaming, or plain JSON. */
export function refuseStream(request: IncomingMessage, response: ServerResponse, path: string): void {
  const contentType = request.headers["content-type"] ?? "";
  const message = `${path.slice(1)} is bidirectional: call it on the gRPC port, or report with ReportInteractions here`;
  const error = { code: "unimplemented", message };
  response.setHeader("connection", "close"); // what the caller still streams is not read
  if (contentType.startsWith("application/grpc-web")) {
    response.writeHead(200, { "content-type": contentType, "grpc-status": grpcUnimplemented, "grpc-message": encodeURI(message) }).end();
  } else if (contentType.startsWith("application/connect+")) {
    response.writeHead(200, { "content-type": contentType }).end(endOfStream({ error }));
  } else {
    response.writeHead(501, { "content-type": "application/json" }).end(JSON.stringify(error));
  }
}

/** The last envelope of a Connect stream. */
export function endOfStream(trailer: unknown): Buffer {
  const body = Buffer.from(JSON.stringify(trailer));
  const prefix = Buffer.alloc(5);
  prefix.writeUInt8(connectEndStreamFlag, 0);
  prefix.writeUInt32BE(body.byteLength, 1);
  return Buffer.concat([prefix, body]);
}
