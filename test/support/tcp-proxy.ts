import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";

/** A proxy whose network can break. */
export type TcpProxy = {
  readonly port: number;
  readonly connectionCount: () => number;
  /**
   * `pass` forwards; `swallow` forwards nothing and closes nothing, like a cable that is cut; `close` ends each new connection at once.
   * Connections that were open stay.
   */
  readonly set: (mode: "pass" | "swallow" | "close") => void;
  /** Cuts every connection as soon as the server's next bytes arrive, instead of passing them on. */
  readonly cutAtNextAnswer: () => void;
  readonly [Symbol.asyncDispose]: () => Promise<void>;
};

/** A proxy to a port of this machine. */
export async function startTcpProxy(targetPort: number): Promise<TcpProxy> {
  let mode: "pass" | "swallow" | "close" = "pass";
  let isCutting = false;
  const sockets = new Set<Socket>();
  const keep = (socket: Socket): Socket => {
    sockets.add(socket);
    socket.on("error", () => {});
    return socket.once("close", () => sockets.delete(socket));
  };
  const server = createServer((client) => {
    keep(client);
    if (mode === "close") return void client.destroy();
    const upstream = keep(connect(targetPort, "127.0.0.1"));
    client.on("data", (bytes) => {
      if (mode === "pass") upstream.write(bytes);
    });
    upstream.on("data", (bytes) => {
      if (isCutting) for (const socket of sockets) socket.destroy();
      else if (mode === "pass") client.write(bytes);
    });
    client.once("close", () => upstream.destroy());
    upstream.once("close", () => client.destroy());
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("a TCP server has a port");
  return {
    port: address.port,
    connectionCount: () => sockets.size / 2,
    set: (next) => {
      mode = next;
      isCutting = false;
    },
    cutAtNextAnswer: () => {
      isCutting = true;
    },
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
}
