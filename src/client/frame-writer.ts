import type { SessionCall } from "./connect.js";
import type { EncodedFrame } from "./wire/frames.js";

/** Control frames of which only the newest of its kind is worth sending. */
type ControlKind = "heartbeat" | "routingAck" | "configAck" | "credential" | "load" | "mcpConfigAck";

/** The way of frames to one call. A peer that does not read cannot make us pile them up: one control frame of each kind waits, events stay in the outbox. */
export class FrameWriter {
  readonly #waiting = new Map<ControlKind, EncodedFrame>();
  #call: SessionCall | undefined;
  #isWritable = false;

  /** Whether another frame may be written now. */
  get isWritable(): boolean {
    return this.#isWritable && this.#call !== undefined;
  }

  /** Writes to `call` from now on; undefined when there is none. Nothing that waited for the one before is kept. */
  attach(call: SessionCall | undefined): void {
    this.#call = call;
    this.#isWritable = call !== undefined;
    this.#waiting.clear();
  }

  write(frame: EncodedFrame): void {
    if (this.#call !== undefined) this.#isWritable = this.#call.write(frame);
  }

  /** Writes now, or in place of an older one of its kind when the call takes frames again. */
  writeControl(kind: ControlKind, frame: EncodedFrame): void {
    if (this.isWritable) this.write(frame);
    else this.#waiting.set(kind, frame);
  }

  /** The call takes frames again. */
  writableAgain(): void {
    this.#isWritable = true;
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const [kind, frame] of waiting) this.writeControl(kind, frame);
  }
}
