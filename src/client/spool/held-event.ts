import { decodeEvent, type EventInit } from "../wire/frames.js";
import type { SpooledEvent } from "./spool.js";

/** An event of which the bytes are at hand, and the fields only when somebody asks. */
export class HeldEvent implements SpooledEvent {
  readonly eventId: string;
  readonly encoded: Uint8Array;
  readonly place: number;
  #event: EventInit | undefined;

  constructor(eventId: string, encoded: Uint8Array, place: number) {
    this.eventId = eventId;
    this.encoded = encoded;
    this.place = place;
  }

  get event(): EventInit {
    this.#event ??= decodeEvent(this.encoded);
    return this.#event;
  }
}
