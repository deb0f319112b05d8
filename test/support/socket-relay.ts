import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";

/** What every proxy of these tests is: a port, and pairs of sockets that end with it. */
export type SocketRelay = {
  readonly port: number;
  /** Both ends of every open connection. */
  readonly sockets: ReadonlySet<Socket>;
  readonly connectionCount: () => number;
  readonly close: () => Promise<void>;
};

/** Listens on a free port; `join` gets each client, and opens what it is to be joined with. Errors of the sockets end nothing. */
export async function startSocketRelay(join: (client: Socket, open: (port: number) => Socket) => void): Promise<SocketRelay> {
  const sockets = new Set<Socket>();
  const keep = (socket: Socket): Socket => {
    sockets.add(socket);
    socket.on("error", () => {});
    return socket.setNoDelay(true).once("close", () => sockets.delete(socket));
  };
  const server = createServer((client) => join(keep(client), (port) => keep(connect(port, "127.0.0.1"))));
  const port = await listen(server);
  return {
    port,
    sockets,
    connectionCount: () => sockets.size / 2,
    close: async () => {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
}

/** Listens on a free port of this machine, and tells which. */
export async function listen(server: Server): Promise<number> {
  await once(server.listen(0, "127.0.0.1"), "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("a TCP server has a port");
  return address.port;
}
