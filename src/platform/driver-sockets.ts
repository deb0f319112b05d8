import { Socket } from "node:net";
import { limits } from "./limits.js";

/** What postgres.js hands to its `socket` option: its options after parsing. */
type ParsedOptions = { readonly host: readonly string[]; readonly port: readonly number[]; readonly path: string | false | undefined };

export type DriverSockets = { readonly open: (parsed: ParsedOptions) => Promise<Socket>; readonly destroy: () => void };

/**
 * The sockets of one postgres.js instance. Of several hosts each attempt takes the next. After the first attempts there is a pause before each:
 * against a peer that accepts and closes, the driver retries without one.
 */
export function createDriverSockets(maxConnections: number): DriverSockets {
  const sockets = new Set<Socket>();
  let attemptCount = 0;
  let isDestroyed = false;
  return {
    open: async (parsed) => {
      const index = attemptCount % parsed.host.length;
      const pauseMs = attemptCount < maxConnections ? 0 : limits.storeBackoff.firstMs;
      attemptCount += 1;
      // Also with 0: after an await the driver gets to listen for errors before even an immediate one is emitted.
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
      for (const old of sockets) if (old.destroyed) sockets.delete(old);
      // The driver reads `host` for the server name of TLS and `port` for its messages.
      const socket = Object.assign(new DriverSocket(), { host: parsed.host[index], port: parsed.port[index] });
      if (isDestroyed) return socket.destroy();
      sockets.add(socket);
      return parsed.path ? socket.connect(parsed.path) : socket.connect(parsed.port[index] ?? 5432, parsed.host[index] ?? "localhost");
    },
    destroy: () => {
      isDestroyed = true;
      // With a reset: a mere close leaves what was written to the system, which goes on to deliver it, and a statement that was given up would be carried out after
      // an outage. Sockets of the file system have no such memory, and no reset.
      for (const socket of sockets) {
        if (socket.remoteFamily === undefined) socket.destroy();
        else socket.resetAndDestroy();
      }
    },
  };
}

/**
 * What every postgres.js instance of ours is told. How often to try again is up to whoever uses it, no connection is given up for its age, and types are never
 * asked for: one round trip less before the first statement.
 */
export function driverOptions(sockets: DriverSockets) {
  return {
    fetch_types: false,
    connect_timeout: limits.connectTimeoutMs / 1000,
    keep_alive: limits.keepAliveMs / 1000,
    backoff: () => 0,
    max_lifetime: null,
    onnotice: () => {},
    socket: sockets.open,
  };
}

/**
 * A socket whose end is never silent: one that the server closes in good order fails like one that was reset. The driver drops its socket before it rejects what
 * waits on it; the ROLLBACK of a transaction then meets no socket at all, in a callback that nobody can catch (postgres issues 1066, 1154, 1208). After an error
 * the socket is still there, and takes the ROLLBACK to its grave. Before the server has answered anything, the driver's own retry is left alone.
 */
class DriverSocket extends Socket {
  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    const isSilent = error === null && this.bytesRead > 0 && this.listenerCount("error") > 0;
    const closed = Object.assign(new Error("the server closed the connection"), { code: "CONNECTION_CLOSED" });
    super._destroy(isSilent ? closed : error, callback);
  }
}
