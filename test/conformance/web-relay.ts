import { createServer, type IncomingMessage, request, type ServerResponse } from "node:http";
import { fromBinary, fromJsonString } from "@bufbuild/protobuf";
import {
  InteractionService,
  type ReportInteractionsRequest,
  ReportInteractionsRequestSchema,
  type ReportInteractionsResponse,
  ReportInteractionsResponseSchema,
} from "../../gen/mcp/coordinator/v1/interaction_service_pb.js";
import { listen } from "../support/socket-relay.js";

/** One ReportInteractions over HTTP. */
export type Post = {
  readonly authorization: string;
  readonly request: ReportInteractionsRequest;
  /** Undefined when the client got none. */
  readonly response: ReportInteractionsResponse | undefined;
};

export type WebRelay = {
  readonly port: number;
  /** The next answer of a coordinator is lost on its way to the client. */
  readonly loseNextAnswer: () => void;
  readonly stop: () => Promise<void>;
};

/** Bound of one request, as at the coordinator. */
const bodyMaxBytes = 4 * 1024 * 1024;
const reportPath = `/${InteractionService.typeName}/ReportInteractions`;

/** Brings HTTP requests to the web port that `upstream` names at that time, and shows each report to `seen`. Errors: when no port is to be had. */
export async function startWebRelay(upstream: () => string | undefined, seen: (post: Post) => void): Promise<WebRelay> {
  let isLosing = false;
  const server = createServer((incoming, outgoing) => {
    void carry(incoming, outgoing, upstream(), () => {
      const loses = isLosing;
      isLosing = false;
      return loses;
    }).then(
      (post) => post !== undefined && seen(post),
      () => outgoing.destroy(), // the loop's edge: a request that broke off
    );
  });
  const port = await listen(server);
  return {
    port,
    loseNextAnswer: () => {
      isLosing = true;
    },
    stop: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

async function carry(
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  upstream: string | undefined,
  losesAnswer: () => boolean,
): Promise<Post | undefined> {
  const body = await bodyOf(incoming);
  if (upstream === undefined) {
    outgoing.writeHead(503, { "content-type": "application/json" }).end('{"code":"unavailable","message":"no coordinator"}');
    return undefined;
  }
  const answer = await forward(upstream, incoming, body);
  const isReport = incoming.url === reportPath && incoming.method === "POST";
  const isLost = isReport && answer.code === 200 && losesAnswer();
  if (isLost) outgoing.destroy();
  else outgoing.writeHead(answer.code, { "content-type": answer.type }).end(answer.body);
  if (!isReport || answer.code !== 200) return undefined;
  return {
    authorization: incoming.headers.authorization ?? "",
    request: decode(ReportInteractionsRequestSchema, incoming.headers["content-type"] ?? "", body),
    response: isLost ? undefined : decode(ReportInteractionsResponseSchema, answer.type, answer.body),
  };
}

function decode<S extends typeof ReportInteractionsRequestSchema | typeof ReportInteractionsResponseSchema>(
  schema: S,
  type: string,
  body: Buffer,
) {
  return type.startsWith("application/json") ? fromJsonString(schema, body.toString()) : fromBinary(schema, body);
}

type Answer = { readonly code: number; readonly type: string; readonly body: Buffer };

function forward(upstream: string, incoming: IncomingMessage, body: Buffer): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const { host: _, connection: __, "accept-encoding": ___, ...headers } = incoming.headers; // answers come as they are, to be read on their way
    const outgoing = request(new URL(incoming.url ?? "/", upstream), { method: incoming.method, headers, agent: false }, (response) => {
      bodyOf(response).then(
        (answer) => resolve({ code: response.statusCode ?? 502, type: response.headers["content-type"] ?? "", body: answer }),
        reject,
      );
    });
    outgoing.once("error", reject);
    outgoing.end(body);
  });
}

async function bodyOf(message: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of message) {
    const piece = Buffer.from(chunk);
    bytes += piece.length;
    if (bytes > bodyMaxBytes) throw new Error(`a body of more than ${bodyMaxBytes} bytes`);
    chunks.push(piece);
  }
  return Buffer.concat(chunks);
}
