import { Agent as PlainAgent, request as plainRequest } from "node:http";
import { request as secureRequest, Agent as TlsAgent } from "node:https";
import type { SecureContext } from "node:tls";
import type { Clock } from "../../platform/clock.js";
import { limits } from "../../platform/limits.js";
import { openTls, type Tls } from "../tls.js";
import { type TlsFaultKind, tlsFaultOf } from "../tls-fault.js";
import type { HttpAnswer } from "./http-answer.js";

export type WebRequest = {
  readonly method: "GET" | "POST";
  /** With its slash at the front. */
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
  /** Longest wait for the whole answer.     Unit: ms. */
  readonly maxMs: number;
};

/** Why there is no answer, and of which kind it is when TLS is the reason. */
export type WebFault = { readonly why: string; readonly tls?: TlsFaultKind };

export type WebResult = { readonly kind: "answer"; readonly answer: HttpAnswer } | { readonly kind: "fault"; readonly fault: WebFault };

/** Requests to one web address, over connections that are kept. */
export type WebClient = {
  /** The answer, or why there was none; redirects are answers. Never rejects. Bound: `limits.httpAnswerMaxBytes` of an answer. */
  readonly ask: (request: WebRequest) => Promise<WebResult>;
  /** Ends all requests that are under way, and the connections. */
  readonly close: () => void;
};

export type WebClientOptions = {
  /** Without a slash at its end. */
  readonly url: string;
  /** For an address with https; undefined there means what Node trusts, with the least version of ours. */
  readonly tls?: Tls | undefined;
  readonly clock: Pick<Clock, "after">;
};

/** A connection without a request is closed by this side, well before the coordinator does: a request that crosses the closing would be lost, and made again.     Unit: ms. */
const idleMaxMs = limits.webKeepAliveMs / 2;

/** Prepares a client; nothing is connected before the first request. */
export function createWebClient({ url, tls, clock }: WebClientOptions): WebClient {
  const isSecure = url.startsWith("https:");
  const pool = { keepAlive: true, timeout: idleMaxMs, maxSockets: limits.httpRequestsAtOnce + 1 };
  const agent = isSecure ? new TlsAgent({ ...pool, ...connectOptions(tls ?? openTls({})) }) : new PlainAgent(pool);
  const send = isSecure ? secureRequest : plainRequest;
  const endings = new Set<() => void>();
  const ask = ({ method, path, headers = {}, body, maxMs }: WebRequest): Promise<WebResult> =>
    new Promise<WebResult>((resolve) => {
      const request = send(`${url}${path}`, { method, headers, agent });
      const settle = (result: WebResult): void => {
        cancel();
        endings.delete(end);
        resolve(result);
      };
      const fail = (fault: WebFault): void => {
        settle({ kind: "fault", fault });
        request.destroy();
      };
      const cancel = clock.after(maxMs, () => fail({ why: `no answer within ${maxMs} ms` }));
      const end = (): void => fail({ why: "cannot be reached: the reporter is being closed" });
      endings.add(end);
      // Also after it was settled: what is destroyed on purpose says so once more.
      request.on("error", (error) => fail(faultOf(error)));
      request.on("response", (response) => {
        const { statusCode: status = 0 } = response;
        const header = (name: string): string | undefined => {
          const value = response.headers[name];
          return Array.isArray(value) ? value.join(", ") : value;
        };
        readBody(response).then(
          (read) => {
            if (read === undefined) fail({ why: `what answers is no coordinator: more than ${limits.httpAnswerMaxBytes} bytes` });
            else settle({ kind: "answer", answer: { status, header, body: read } });
          },
          (thrown: unknown) => fail(faultOf(thrown)),
        );
      });
      request.end(body);
      // What Node throws at once, for a header that cannot be sent, is no answer either.
    }).catch((thrown: unknown): WebResult => ({ kind: "fault", fault: faultOf(thrown) }));
  const close = (): void => {
    for (const end of [...endings]) end();
    agent.destroy();
  };
  return { ask, close };
}

/** The name is sent to the other side, and its certificate has to be for it. */
const connectOptions = ({ context, serverName }: Tls): { readonly secureContext: SecureContext; readonly servername?: string } => ({
  secureContext: context,
  ...(serverName === undefined ? {} : { servername: serverName }),
});

/** The body; undefined when it is larger than any answer of ours. */
async function readBody(response: AsyncIterable<Uint8Array>): Promise<Uint8Array | undefined> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of response) {
    bytes += chunk.length;
    if (bytes > limits.httpAnswerMaxBytes) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** What Node says, with its code: some of its messages are about the symptom, and the code is about the cause. */
function faultOf(thrown: unknown): WebFault {
  // A name that has several addresses fails with all of them: the first says enough.
  const error: unknown = thrown instanceof AggregateError ? thrown.errors[0] : thrown;
  if (!(error instanceof Error)) return { why: `cannot be reached: ${String(error)}` };
  const code = "code" in error && typeof error.code === "string" ? error.code : "";
  const tls = tlsFaultOf(`${error.message} ${code}`);
  if (tls !== undefined) return { why: tls.why, tls: tls.kind };
  return { why: `cannot be reached: ${error.message === "" ? code : error.message}` };
}
