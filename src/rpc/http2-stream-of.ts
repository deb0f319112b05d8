import type { ServerHttp2Stream } from "node:http2";

/**
 * The HTTP/2 stream under a call. grpc-js shows neither it nor its connection, and has no way to reset a stream whose peer reads nothing, to tell two
 * streams on one connection from two connections, or to retire a connection by itself (node-grpc.md rows 2, 7, 16). So this reaches for the two private
 * fields between, and gives nothing where they have moved: test/story/slow-consumer.test.ts, session-life.test.ts and connection-conduct.test.ts would tell.
 */
export function http2StreamOf(call: object): ServerHttp2Stream | undefined {
  const inner = call as { readonly call?: { readonly stream?: ServerHttp2Stream } }; // private in grpc-js's types
  return inner.call?.stream;
}
