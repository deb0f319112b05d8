import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import type { Client, ClientDuplexStream, Metadata, StatusObject } from "@grpc/grpc-js";
import type { EventAck } from "../../gen/mcp/coordinator/v1/events_pb.js";
import {
  InteractionService,
  StreamInteractionsRequestSchema,
  type StreamInteractionsResponse,
  StreamInteractionsResponseSchema,
} from "../../gen/mcp/coordinator/v1/interaction_service_pb.js";
import { type CallEnd, endOf, metadataOf, pathOf } from "./grpc-client.js";

export type FrameInit = NonNullable<MessageInitShape<typeof StreamInteractionsRequestSchema>["frame"]>;
type Frame = StreamInteractionsResponse["frame"];

/** One stream, frame by frame, as a stranger with generated code would hold it. */
export class RawStream {
  readonly frames: Frame[] = [];
  readonly #call: ClientDuplexStream<Uint8Array, StreamInteractionsResponse>;
  readonly #waiting = new Set<() => void>();
  readonly ended: Promise<CallEnd>;
  readonly headers: Promise<Metadata>;

  constructor(client: Client, headers: Readonly<Record<string, string>> = {}, options: { readonly deadline?: number } = {}) {
    this.#call = client.makeBidiStreamRequest(
      pathOf(InteractionService.method.streamInteractions),
      (bytes: Uint8Array) => Buffer.from(bytes),
      (bytes: Buffer) => fromBinary(StreamInteractionsResponseSchema, bytes),
      metadataOf(headers),
      options,
    );
    this.headers = new Promise((resolve) => this.#call.once("metadata", resolve));
    this.ended = new Promise((resolve) => this.#call.once("status", (status: StatusObject) => resolve(endOf(status))));
    this.#call.on("data", (response: StreamInteractionsResponse) => {
      this.frames.push(response.frame);
      for (const check of [...this.#waiting]) check();
    });
    this.#call.on("error", () => {
      // `ended` tells the status
    });
  }

  send(frame: FrameInit): boolean {
    return this.sendBytes(toBinary(StreamInteractionsRequestSchema, create(StreamInteractionsRequestSchema, { frame })));
  }

  /** Sends bytes that may be no frame at all. */
  sendBytes(bytes: Uint8Array): boolean {
    return this.#call.write(bytes);
  }

  halfClose(): void {
    this.#call.end();
  }

  cancel(): void {
    this.#call.cancel();
  }

  pause(): void {
    this.#call.pause();
  }

  /** Resolves once `found` gives something for the frames so far. Errors: when the stream ends before. */
  async until<T>(found: (frames: readonly Frame[]) => T | undefined): Promise<T> {
    return new Promise((resolve, reject) => {
      const check = () => {
        const value = found(this.frames);
        if (value === undefined) return;
        this.#waiting.delete(check);
        resolve(value);
      };
      this.#waiting.add(check);
      check();
      void this.ended.then((end) => {
        check();
        if (this.#waiting.delete(check)) reject(new Error(`the stream ended: ${end.code} ${end.message}`));
      });
    });
  }

  /** The first frame of a kind. */
  first<C extends Frame["case"]>(name: C): Promise<Extract<Frame, { case: C }>> {
    return this.until((frames) => frames.find((frame): frame is Extract<Frame, { case: C }> => frame.case === name));
  }

  /** Acks of single events so far. */
  get acks(): readonly EventAck[] {
    return this.frames.flatMap((frame) =>
      frame.case === "eventAck" ? [frame.value] : frame.case === "eventAckBatch" ? frame.value.exceptions : [],
    );
  }

  /** Resolves with the acks once there are `count`. */
  async untilAcks(count: number): Promise<readonly EventAck[]> {
    return this.until(() => (this.acks.length >= count ? this.acks : undefined));
  }
}
