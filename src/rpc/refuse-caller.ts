import type { IncomingMessage, ServerResponse } from "node:http";
import type { DescService } from "@bufbuild/protobuf";
import { codeToHttpStatus, errorToJson } from "@connectrpc/connect/protocol-connect";
import { setTrailerStatus } from "@connectrpc/connect/protocol-grpc";
import { CoordinatorError } from "../platform/errors.js";
import { parseRequestId } from "../platform/request-id.js";
import { mintUuidV7 } from "../platform/uuid-v7.js";
import type { WebService } from "./adapt-web.js";
import { endOfStream } from "./refuse-stream.js";
import { toConnectError } from "./status.js";

/** Answers a request whose credential is refused, and tells whether it did. */
export type RefuseCaller = (request: IncomingMessage, response: ServerResponse, path: string) => boolean;

/**
 * Refuses a credential before the body is read: Connect reads all of it before it asks a handler, 4 MiB for each connection of a caller who may send nothing at all.
 * The answer has the words of the protocol that asked; what still comes of the body is dropped by Node, which ends the request at `webRequestMaxMs`.
 */
export function refuseCallers(services: readonly Pick<WebService, "service" | "authenticate">[]): RefuseCaller {
  const byPath = new Map(services.flatMap(({ service, authenticate }) => pathsOfService(service).map((path) => [path, authenticate])));
  return (request, response, path) => {
    try {
      byPath.get(path)?.(request.headers.authorization);
      return false;
    } catch (thrown) {
      // Translates a refusal into an answer; a bug of ours is met again, and logged, by the call itself.
      if (!(thrown instanceof CoordinatorError)) return false;
      answer(request, response, thrown);
      return true;
    }
  };
}

function answer(request: IncomingMessage, response: ServerResponse, refusal: CoordinatorError): void {
  const asked = request.headers["x-request-id"];
  const requestId = (typeof asked === "string" ? parseRequestId(asked) : undefined) ?? mintUuidV7();
  const error = toConnectError(refusal, requestId);
  const contentType = request.headers["content-type"] ?? "";
  response.setHeader("x-request-id", requestId);
  if (contentType.startsWith("application/grpc-web")) {
    const status = Object.fromEntries(setTrailerStatus(new Headers(), error));
    response.writeHead(200, { ...status, "content-type": contentType }).end();
  } else if (contentType.startsWith("application/connect+")) {
    response.writeHead(200, { "content-type": contentType }).end(endOfStream({ error: errorToJson(error, undefined) }));
  } else {
    response
      .writeHead(codeToHttpStatus(error.code), { "content-type": "application/json" })
      .end(JSON.stringify(errorToJson(error, undefined)));
  }
}

function pathsOfService(service: DescService): readonly string[] {
  return service.methods.map((method) => `/${service.typeName}/${method.name}`);
}
