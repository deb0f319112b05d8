import { create } from "@bufbuild/protobuf";
import { type StreamInteractionsRequest, StreamInteractionsRequestSchema } from "../../gen/mcp/coordinator/v1/interaction_service_pb.js";
import type { StreamSession } from "../../src/hub/stream-session.js";
import type { Transport } from "../../src/hub/surroundings.js";
import { CoordinatorError } from "../../src/platform/errors.js";
import { limits } from "../../src/platform/limits.js";
import { parseClientFrame } from "../../src/wire/frame.js";
import type { ServerFrame } from "../../src/wire/server-frame.js";
import type { Auditor, Ledger } from "./auditor.js";
import type { Item } from "./workload.js";

/** An event as it goes into a frame. */
export type Parcel = { readonly item: Item; readonly variant: number; readonly tag: string };

/** What a client has put on the stream. */
export type Outgoing =
  | { readonly kind: "frame"; readonly frame: StreamInteractionsRequest["frame"] }
  | { readonly kind: "events"; readonly parcels: readonly Parcel[] }
  /** Bytes that are no frame. */
  | { readonly kind: "garbage" }
  | { readonly kind: "half_close" };

/** How a stream stands, as seen from the coordinator's side. */
type LinkState = "open" | "ended" | "failed" | "gone";

/**
 * One stream: frames under way in both directions, moved only when the schedule says so. Behaves as the gRPC transport does: nothing is delivered while
 * paused, a half-close comes after all frames, `write` says when the peer should read first.
 */
export class Link implements Transport {
  readonly ledger: Ledger;
  readonly toServer: Outgoing[] = [];
  readonly toClient: ServerFrame[] = [];
  session: StreamSession | undefined;
  state: LinkState = "open";
  error: CoordinatorError | undefined;
  isPaused = false;
  isHalfClosed = false;
  /** Nobody hears the coordinator any more: its process is gone. */
  isOrphan = false;
  /** Frames that `write` takes before it wants the peer to read. */
  readonly highWater: number;
  readonly #auditor: Auditor;
  #isBlocked = false;
  /** Most frames that were ever waiting for the peer above the high-water mark, while the stream was open. */
  overhang = 0;

  constructor(ledger: Ledger, auditor: Auditor, highWater: number) {
    this.ledger = ledger;
    this.#auditor = auditor;
    this.highWater = highWater;
  }

  /** The coordinator was told to write no more until the peer reads. */
  get isFull(): boolean {
    return this.#isBlocked;
  }

  readonly write = (frame: ServerFrame): boolean => {
    if (this.isOrphan) return true;
    if (this.state !== "open") this.#auditor.report(`${this.ledger.name} writes ${frame.frame.case} after its end`);
    this.#auditor.wrote(this.ledger, frame.frame);
    this.toClient.push(frame);
    if (this.toClient.length < this.highWater) return true;
    this.#isBlocked = true;
    this.overhang = Math.max(this.overhang, this.toClient.length - this.highWater);
    return false;
  };
  readonly pause = (): void => {
    this.isPaused = true;
  };
  readonly resume = (): void => {
    this.isPaused = false;
  };
  /** Whether the peer was told to open no more streams here. */
  isRetired = false;
  readonly retireConnection = (): void => {
    this.isRetired = true;
  };
  /** Every stream has a connection of its own. */
  readonly connection = undefined;
  readonly end = (): void => {
    if (!this.isOrphan) this.#auditor.ended(this.ledger);
    this.#close("ended");
  };
  readonly fail = (error: CoordinatorError): void => {
    this.error = error;
    this.#close("failed");
  };
  readonly reset = (): void => {
    this.state = "gone";
  };

  /** After its end a stream is read on, into nothing. */
  #close(state: "ended" | "failed"): void {
    if (this.isOrphan) return;
    if (this.state !== "open") this.#auditor.report(`${this.ledger.name} ends twice`);
    this.state = state;
    this.isPaused = false;
  }

  /** Delivers at most `count` of what the client has sent; gives how much it was. */
  deliver(count: number): number {
    let delivered = 0;
    while (delivered < count && !this.isPaused && this.state !== "gone" && this.session !== undefined) {
      const outgoing = this.toServer.shift();
      if (outgoing === undefined) break;
      this.#receive(this.session, outgoing);
      delivered += 1;
    }
    return delivered;
  }

  /** What the client reads now: at most `count` frames. A stream that was blocked and has room again says so. */
  read(count: number): readonly ServerFrame[] {
    const frames = this.toClient.splice(0, count);
    if (this.#isBlocked && this.toClient.length < this.highWater) {
      this.#isBlocked = false;
      if (!this.isOrphan) this.session?.unblocked();
    }
    return frames;
  }

  /** The client has gone, or has read the status: the coordinator hears of it, unless it is gone itself. */
  close(): void {
    if (this.state === "gone" || this.isOrphan) return;
    this.state = "gone";
    this.session?.gone();
  }

  /** The call is given up from above: its deadline has come, or the grace period of a shutdown is over. */
  abort(): void {
    if (this.isOrphan || this.state === "gone") return;
    this.session?.failed(new CoordinatorError("late", "the deadline has passed", { reason: "DEADLINE_EXCEEDED" }));
  }

  #receive(session: StreamSession, outgoing: Outgoing): void {
    switch (outgoing.kind) {
      case "half_close":
        session.halfClosed();
        return;
      case "garbage":
        session.failed(new CoordinatorError("invalid", "premature EOF", { reason: "UNDECODABLE_FRAME" }));
        return;
      case "frame": {
        const request = create(StreamInteractionsRequestSchema);
        request.frame = outgoing.frame;
        session.received(parseClientFrame(request, 20));
        return;
      }
      case "events":
        this.#receiveEvents(session, outgoing.parcels);
    }
  }

  /** One event with the bytes that it claims, or a batch of as many as the frame has. */
  #receiveEvents(session: StreamSession, parcels: readonly Parcel[]): void {
    const events = parcels.map(({ item, variant }) => item.variants[variant]).filter((event) => event !== undefined);
    const isTaken = !session.isClosed && parcels.length <= limits.batchMaxEvents;
    if (isTaken) for (const { item, tag } of parcels) this.#auditor.delivered(this.ledger, item, tag);
    const bytes = parcels.reduce((sum, { item }) => sum + item.bytes, 0);
    const request = create(StreamInteractionsRequestSchema);
    const [only, second] = events;
    if (only !== undefined && second === undefined) request.frame = { case: "event", value: only };
    else request.frame = { case: "eventBatch", value: { $typeName: "mcp.coordinator.v1.EventBatch", events } };
    session.received(parseClientFrame(request, bytes));
  }
}
