import { constants, type Http2SecureServer, type Http2Server, type ServerHttp2Session } from "node:http2";
import type { Server } from "@grpc/grpc-js";
import { assert } from "../platform/assert.js";
import { limits } from "../platform/limits.js";

/** How much a peer may send before it must wait for us. */
export type Http2Windows = { readonly streamBytes: number; readonly connectionBytes: number };

/** The windows of the gRPC port. Source: node-grpc.md, "Starting settings". */
export const defaultWindows: Http2Windows = {
  streamBytes: limits.http2StreamWindowBytes,
  connectionBytes: limits.http2ConnectionWindowBytes,
};

/** The one method of grpc-js that makes its HTTP/2 servers, plain and TLS. It is private, and nothing public leads to them (grpc-node issue 3058). */
type Http2ServerMaker = { createHttp2Server: (credentials: unknown) => Http2Server | Http2SecureServer };

/**
 * Shows every HTTP/2 server of a grpc-js server before it listens. Call it before the server binds. Works on this one server; nothing global is
 * changed, so other HTTP/2 servers of the process stay as they are.
 * Errors: an assertion when grpc-js has renamed the method, so that an upgrade cannot lose what hangs on this in silence.
 */
export function tapHttp2Servers(server: Server, seen: (http2Server: Http2Server | Http2SecureServer) => void): void {
  const maker = server as unknown as Http2ServerMaker; // private in grpc-js's types; asserted below
  const original = maker.createHttp2Server;
  assert(typeof original === "function", "grpc-js makes its HTTP/2 servers in createHttp2Server");
  maker.createHttp2Server = (credentials) => {
    const http2Server = original.call(server, credentials);
    seen(http2Server);
    return http2Server;
  };
}

/** Raises the receive windows of a grpc-js server, which are 64 KiB otherwise: over 20 ms of network that is 3 MB/s for a whole connection. */
export function raiseReceiveWindows(server: Server, windows: Http2Windows = defaultWindows): void {
  tapHttp2Servers(server, (http2Server) => {
    http2Server.updateSettings({ initialWindowSize: windows.streamBytes }); // part of the first SETTINGS frame of each connection
    http2Server.on("session", (session: ServerHttp2Session) => session.setLocalWindowSize(windows.connectionBytes));
  });
}

/** Cuts every connection of a server. */
export type CutConnections = () => void;

/**
 * What forceShutdown of grpc-js 1.14 leaves out: with channelz switched off it keeps no list of its connections (server.ts, _sessionHandler), so it
 * cuts none, and streams outlive the server.
 */
export function trackConnections(server: Server): CutConnections {
  const sessions = new Set<ServerHttp2Session>();
  tapHttp2Servers(server, (http2Server) => {
    http2Server.on("session", (session: ServerHttp2Session) => {
      sessions.add(session);
      session.once("close", () => sessions.delete(session));
    });
  });
  return () => {
    for (const session of sessions) session.destroy(undefined, constants.NGHTTP2_CANCEL);
  };
}
