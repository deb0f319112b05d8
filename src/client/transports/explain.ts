import type { StreamFailure } from "../options.js";
import { type TlsFault, tlsFaultOf } from "../tls-fault.js";

/** gRPC statuses as this side meets them. Source: google.rpc.Code; the numbers are the contract's, so that nothing of gRPC is loaded for a sentence. */
const invalidArgument = 3;
const permissionDenied = 7;
const failedPrecondition = 9;
const unimplemented = 12;
const unavailable = 14;
const unauthenticated = 16;

/** Words in which HTTP/2 stacks say that what answers speaks HTTP/1, or nothing they know. */
const otherProtocol = /protocol error|HTTP\/1|HTTP status code|ERR_HTTP2_ERROR|Parse Error|frame size|unexpected content-type/i;

/** The words that grpc-js puts around the reason why there is no connection. Source: @grpc/grpc-js, subchannel and load-balancer-pick-first. */
const noConnection = /^No connection established\. Last error: (?:Error: )?(.*?)(?: \(\d{4}-\d\d-\d\dT[\d:.]+Z\))?\. Resolution note: .*$/s;
const noAddress = /^Name resolution failed for target /;

/** The fault of TLS that kept a stream from being opened; undefined when it was none. What a coordinator says itself is none. */
export const tlsFaultOfStream = ({ code, details }: StreamFailure): TlsFault | undefined =>
  code === unavailable ? tlsFaultOf(details) : undefined;

/** One sentence about a stream that failed, with what to do about it. For people. */
export function explainStreamFailure({ code, details }: StreamFailure): string {
  const words = noConnection.exec(details)?.[1] ?? details;
  const said = words === "" ? `gRPC status ${code}` : `${words} (gRPC status ${code})`;
  const tls = tlsFaultOfStream({ code, details });
  if (tls !== undefined) return tls.why;
  if (otherProtocol.test(details)) {
    return `what answers does not speak HTTP/2: ${said}; use the coordinator's gRPC port, or a proxy that passes HTTP/2 on`;
  }
  switch (code) {
    case unauthenticated:
      return `the key was refused: ${said}; give api_key a valid one`;
    case permissionDenied:
      return `the key may not act for this mcp_id: ${said}; use the key of this MCP`;
    case unimplemented:
      return `what answers is no coordinator: ${said}; check the target`;
    case failedPrecondition:
    case invalidArgument:
      return `the coordinator refuses the session: ${said}`;
    case unavailable:
      return `cannot be reached: ${said}`;
    default:
      return `the stream ended: ${said}`;
  }
}

/** One sentence, with what to do, about a call that has reached no coordinator; undefined when one has answered. For people. */
export function explainUnreachable(failure: StreamFailure): string | undefined {
  if (failure.code !== unavailable || !(noConnection.test(failure.details) || noAddress.test(failure.details))) return undefined;
  const said = explainStreamFailure(failure);
  return said.includes("; ") ? said : `${said}; check the address, and that a coordinator runs there`;
}
