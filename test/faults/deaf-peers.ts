import { type ClientHttp2Session, type ClientHttp2Stream, connect } from "node:http2";
import { create, toBinary } from "@bufbuild/protobuf";
import { InteractionService, StreamInteractionsRequestSchema } from "../../gen/mcp/coordinator/v1/interaction_service_pb.js";
import { pathOf } from "../support/grpc-client.js";
import type { FrameInit } from "../support/raw-stream.js";

/** A stream whose peer sends and takes nothing, until its connection is opened. */
export type DeafStream = { readonly send: (...frames: readonly FrameInit[]) => void; readonly halfClose: () => void };

/** Streams on one connection whose HTTP/2 windows are shut: what the coordinator answers stays in its hands. */
export class DeafPeers implements Disposable {
  readonly #session: ClientHttp2Session;
  readonly #headers: Readonly<Record<string, string>>;

  constructor(target: string, headers: Readonly<Record<string, string>>) {
    this.#session = connect(`http://${target}`, { settings: { initialWindowSize: 0 } });
    this.#session.on("error", () => {}); // the coordinator is stopped under it
    this.#headers = headers;
  }

  open(): DeafStream {
    const stream: ClientHttp2Stream = this.#session.request({
      ":method": "POST",
      ":path": pathOf(InteractionService.method.streamInteractions),
      "content-type": "application/grpc",
      te: "trailers",
      ...this.#headers,
    });
    stream.on("error", () => {}); // reset by the coordinator
    stream.resume();
    return {
      send: (...frames) => {
        for (const frame of frames) stream.write(messageOf(frame));
      },
      halfClose: () => void stream.end(),
    };
  }

  /** From now on everything is taken. */
  listen(): void {
    this.#session.settings({ initialWindowSize: 1024 * 1024 });
  }

  [Symbol.dispose](): void {
    this.#session.destroy();
  }
}

function messageOf(frame: FrameInit): Buffer {
  const bytes = toBinary(StreamInteractionsRequestSchema, create(StreamInteractionsRequestSchema, { frame }));
  const head = Buffer.alloc(5);
  head.writeUInt32BE(bytes.length, 1);
  return Buffer.concat([head, bytes]);
}
