import { once } from "node:events";
import { connect, type Socket } from "node:net";

/** Frame types and flags of HTTP/2. Source: RFC 9113, section 6. */
export const frameTypes = { data: 0, headers: 1, resetStream: 3, settings: 4, ping: 6, windowUpdate: 8, continuation: 9 } as const;
export const endHeadersFlag = 0x4;

const preface = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");

/** One frame. */
export function frameOf(type: number, flags: number, streamId: number, payload: Buffer = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(streamId, 5);
  return Buffer.concat([head, payload]);
}

/** A settings frame. */
export function settingsOf(pairs: readonly (readonly [id: number, value: number])[]): Buffer {
  const payload = Buffer.alloc(pairs.length * 6);
  pairs.forEach(([id, value], index) => {
    payload.writeUInt16BE(id, index * 6);
    payload.writeUInt32BE(value, index * 6 + 2);
  });
  return frameOf(frameTypes.settings, 0, 0, payload);
}

/** Settings identifier SETTINGS_INITIAL_WINDOW_SIZE. */
export const initialWindowSetting = 4;

/** A header block without compression: literals that are not indexed. Names and values below 127 bytes. Source: RFC 7541, section 6.2.2. */
export function headerBlock(headers: readonly (readonly [string, string])[]): Buffer {
  return Buffer.concat(
    headers.map(([name, value]) =>
      Buffer.concat([Buffer.from([0, name.length]), Buffer.from(name), Buffer.from([value.length]), Buffer.from(value)]),
    ),
  );
}

/** The headers of a gRPC call. */
export const grpcHeaders = (path: string): readonly (readonly [string, string])[] => [
  [":method", "POST"],
  [":scheme", "http"],
  [":path", path],
  [":authority", "localhost"],
  ["content-type", "application/grpc"],
  ["te", "trailers"],
];

/** A connection that speaks HTTP/2 by hand. It has greeted; nothing that the server says is looked at. */
export type RawPeer = {
  /** False once the server has ended the connection, or does not take more now. */
  readonly write: (bytes: Buffer) => boolean;
  readonly isOpen: () => boolean;
  readonly receivedBytes: () => number;
  /** Does not read any more: the server's answers stay in its hands. */
  readonly stopReading: () => void;
  readonly socket: Socket;
  readonly close: () => void;
};

export async function openRawPeer(port: number, settings: Buffer = settingsOf([])): Promise<RawPeer> {
  const socket = connect(port, "127.0.0.1").setNoDelay(true);
  let isOpen = true;
  let received = 0;
  socket.on("error", () => {});
  socket.once("close", () => {
    isOpen = false;
  });
  socket.on("data", (bytes) => {
    received += bytes.length;
  });
  await once(socket, "connect");
  socket.write(Buffer.concat([preface, settings]));
  return {
    write: (bytes) => isOpen && socket.write(bytes),
    isOpen: () => isOpen,
    receivedBytes: () => received,
    stopReading: () => void socket.pause(),
    socket,
    close: () => void socket.destroy(),
  };
}
