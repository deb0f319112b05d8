import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { createServer, type SecureVersion } from "node:tls";
import { type CertifiedKey, pemOf } from "./certificates.js";
import { listen } from "./socket-relay.js";

export type TlsProxyOptions = {
  readonly certificate: CertifiedKey;
  /** The protocol that is agreed on inside of TLS. */
  readonly protocol: "h2" | "http/1.1";
  readonly maxVersion?: SecureVersion;
  /** Path of the authority whose certificates clients must have. Absent: none is asked for. */
  readonly clientCa?: string;
};

/** What ends TLS in front of a port: a proxy as an ingress is one. */
export type TlsProxy = {
  readonly port: number;
  /** Versions and names that clients came with, in order. */
  readonly handshakes: readonly { readonly version: string | null; readonly serverName: string }[];
  readonly [Symbol.asyncDispose]: () => Promise<void>;
};

/** Listens on a free port of loopback, and passes what comes over TLS on to `upstreamPort` in plain text. */
export async function startTlsProxy(upstreamPort: number, options: TlsProxyOptions): Promise<TlsProxy> {
  const { certificate, protocol, maxVersion, clientCa } = options;
  const sockets = new Set<Socket>();
  const handshakes: { readonly version: string | null; readonly serverName: string }[] = [];
  const keep = (socket: Socket): void => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.once("close", () => sockets.delete(socket));
  };
  const server = createServer({
    ...{ cert: pemOf(certificate.cert), key: pemOf(certificate.key), ALPNProtocols: [protocol] },
    ...(maxVersion === undefined ? {} : { maxVersion }),
    ...(clientCa === undefined ? {} : { requestCert: true, rejectUnauthorized: true, ca: pemOf(clientCa) }),
  });
  server.on("connection", keep);
  server.on("secureConnection", (client) => {
    // Node has the name that the client asked for there, and its types do not know it.
    handshakes.push({ version: client.getProtocol(), serverName: "servername" in client ? String(client.servername) : "" });
    keep(client);
    const upstream = connect(upstreamPort, "127.0.0.1");
    keep(upstream);
    client.pipe(upstream).pipe(client);
    client.once("close", () => upstream.destroy());
    upstream.once("close", () => client.destroy());
  });
  const port = await listen(server);
  return {
    port,
    handshakes,
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
}
