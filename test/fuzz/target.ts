import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { pino } from "pino";
import { StreamInteractionsRequestSchema, StreamInteractionsResponseSchema } from "../../gen/mcp/coordinator/v1/interaction_service_pb.js";
import { Fleet } from "../../src/hub/fleet.js";
import type { StreamSession } from "../../src/hub/stream-session.js";
import type { Transport } from "../../src/hub/surroundings.js";
import { createIngest, type Ingest } from "../../src/ingest/ingest.js";
import type { Draft } from "../../src/interaction/event.js";
import { CoordinatorError, type ErrorReason } from "../../src/platform/errors.js";
import { limits } from "../../src/platform/limits.js";
import { decodeFrame } from "../../src/rpc/grpc-definition.js";
import { toGrpcStatus, undecodableError } from "../../src/rpc/status.js";
import { type ClientFrame, parseClientFrame } from "../../src/wire/frame.js";
import type { ServerFrame } from "../../src/wire/server-frame.js";
import { noonMs } from "../support/draft.js";
import { openedOf, settingsOfTest } from "../support/make-fleet.js";
import { ManualClock, turn } from "../support/manual-clock.js";

const silent = pino({ level: "silent" });
const bearer = { principal: { kind: "anyone" }, mcpId: "", producerId: "", epoch: 0, labels: {}, source: "grpc" } as const;

/** A number from here on is no sequence: it is refused, and no order begins with it. */
const sequenceEnd = 2n ** 63n;

/** Why a frame that can be read may end its stream. Everything else must be answered on the stream. */
const lawful: Readonly<Partial<Record<ClientFrame["kind"], readonly ErrorReason[]>>> = {
  hello: ["HELLO_REPEATED", "UNSUPPORTED_VERSION", "FIELD_VIOLATION"],
  events: ["TOO_MANY_EVENTS"],
};

/** What came of the cases so far. */
export type FuzzCounts = { undecodable: number; ended: number; answered: number; refusedEvents: number; acceptedEvents: number };

/** One stream that is fed, and what it wrote. */
class Tap implements Transport {
  expected = 0;
  verdicts = 0;
  /** Sequences that came in rising order: what a range of acks speaks of, since it may span gaps. */
  readonly ordered: bigint[] = [];
  isPaused = false;
  error: CoordinatorError | undefined;
  readonly write = (frame: ServerFrame): boolean => {
    const back = fromBinary(StreamInteractionsResponseSchema, toBinary(StreamInteractionsResponseSchema, frame)); // what we say can be said
    if (back.frame.case === "eventAck") this.verdicts += 1;
    if (back.frame.case === "eventAckBatch") {
      for (const { first, last } of back.frame.value.ranges) {
        this.verdicts += this.ordered.filter((sequence) => sequence >= first && sequence <= last).length;
      }
      this.verdicts += back.frame.value.exceptions.length;
    }
    return true;
  };
  readonly pause = (): void => {
    this.isPaused = true;
  };
  readonly resume = (): void => {
    this.isPaused = false;
  };
  readonly retireConnection = (): void => {};
  readonly connection = undefined;

  /** Events are about to be delivered. */
  expect(drafts: readonly Draft[]): void {
    this.expected += drafts.length;
    for (const { sequence } of drafts) if (sequence > (this.ordered.at(-1) ?? 0n) && sequence < sequenceEnd) this.ordered.push(sequence);
  }
  readonly end = (): void => {};
  readonly reset = (): void => {};
  readonly fail = (error: CoordinatorError): void => {
    this.error = error;
  };
}

/**
 * The decoder, the session and everything up to the store, fed with one frame after another. The store says STORED to everything and keeps nothing, so
 * that ten million cases need no more memory than one.     Errors: `feed` and `settle` throw on the first promise that does not hold.
 */
export class FuzzTarget {
  readonly counts: FuzzCounts = { undecodable: 0, ended: 0, answered: 0, refusedEvents: 0, acceptedEvents: 0 };
  readonly #clock = new ManualClock(noonMs);
  readonly #ingest: Ingest;
  readonly #fleet: Fleet;
  #tap = new Tap();
  #session: StreamSession | undefined;
  #epoch = 0;

  constructor() {
    const shared = { clock: this.#clock, rng: () => 0.5, log: silent };
    this.#ingest = createIngest({
      store: {
        laneCount: 1,
        append: async (_, events) => events.map(() => ({ kind: "stored", storedAtMs: noonMs })),
        setAside: async () => {},
      },
      pseudonym: (id) => `u_${id}`,
      maxClockSkewMs: 600_000,
      dedupeHorizonMs: 7 * 86_400_000,
      ...shared,
    });
    this.#fleet = new Fleet({
      ingest: this.#ingest,
      openProducer: async () => openedOf({ epoch: ++this.#epoch, isKnown: false }),
      readEpochs: undefined,
      authenticate: () => {
        throw new CoordinatorError("unauthenticated", "the key is not known", { reason: "KEY_UNKNOWN" });
      },
      memoryShare: () => 0,
      caps: { perProcess: 100, perKey: 100 },
      currentRoutes: () => undefined,
      recordRoutingAck: () => {},
      coordinatorId: "fuzzed",
      settings: settingsOfTest,
      ...shared,
    });
  }

  /** One frame, as grpc-js would hand it over. */
  async feed(bytes: Uint8Array): Promise<void> {
    const decoded = decodeFrame(StreamInteractionsRequestSchema, bytes);
    if (decoded.kind === "undecodable") {
      const again = decodeFrame(StreamInteractionsRequestSchema, bytes);
      hold(again.kind === "undecodable" && again.error === decoded.error, "an undecodable frame is refused in the same words again");
      const refusal = undecodableError(decoded);
      hold(toGrpcStatus(refusal, "request").code === 3, "an undecodable frame is INVALID_ARGUMENT");
      if (this.counts.undecodable % 16 === 0) await this.#endBy(refusal);
      this.counts.undecodable += 1;
      return;
    }
    const frame = parseClientFrame(decoded.message, decoded.bytes);
    if (frame.kind === "events") this.#judgeTwice(frame.drafts);
    if (this.#tap.isPaused) await this.settle();
    const session = this.#open();
    const isNewHello = frame.kind === "hello" && session.producerId === "";
    if (frame.kind === "events") this.#tap.expect(frame.drafts);
    session.received(frame);
    const { error } = this.#tap;
    if (error !== undefined) {
      hold(lawful[frame.kind]?.includes(error.reason) === true, `a frame of kind ${frame.kind} ended its stream: ${error.reason}`);
      toGrpcStatus(error, "request");
      this.counts.ended += 1;
      await this.settle();
      return;
    }
    this.counts.answered += 1;
    if (isNewHello) await this.settle(); // the store answers a Hello
  }

  /** Ends the stream as the port does that met an undecodable frame: acks first, then the reason. */
  async #endBy(refusal: CoordinatorError): Promise<void> {
    const session = this.#open();
    await this.settle();
    session.failed(refusal);
    hold(this.#tap.error === refusal, "the stream ends with the reason of the frame");
  }

  /** Lets the store answer. Every event that was taken must have its verdict then. */
  async settle(): Promise<void> {
    for (let i = 0; i < 50 && this.#ingest.queue.pendingEvents > 0; i += 1) await turn();
    await turn();
    hold(this.#ingest.queue.pendingEvents === 0, "every event is settled");
    if (this.#tap.error === undefined) {
      hold(this.#tap.verdicts === this.#tap.expected, `${this.#tap.expected} events were sent and ${this.#tap.verdicts} verdicts came`);
    }
  }

  /** Ends the stream; the next frame begins another. Nothing may be left of it. */
  async hangUp(): Promise<void> {
    await this.settle();
    this.#session?.gone();
    this.#session = undefined;
    this.#tap = new Tap();
    hold(this.#fleet.size === 0, "nothing is left of a stream that is gone");
  }

  close(): void {
    this.#fleet.close();
  }

  #open(): StreamSession {
    if (this.#session === undefined || this.#session.isClosed) {
      this.#session?.gone();
      this.#tap = new Tap();
      this.#session = this.#fleet.admit({ kind: "anyone" }, this.#tap);
    }
    return this.#session;
  }

  /** The same event gets the same answer; a refusal names what is wrong, within its bound. */
  #judgeTwice(drafts: readonly Draft[]): void {
    for (const draft of drafts.slice(0, 8)) {
      const first = this.#ingest.accept(bearer, draft);
      const second = this.#ingest.accept(bearer, draft);
      if (first.kind === "refused" && second.kind === "refused") {
        hold(
          JSON.stringify(first.verdict, plain) === JSON.stringify(second.verdict, plain),
          "a refusal is the same when the event is sent again",
        );
        hold(first.verdict.violations.length <= limits.violationMaxCount, "violations are bounded");
        this.counts.refusedEvents += 1;
      } else if (first.kind === "accepted" && second.kind === "accepted") {
        hold(
          first.event.digest === second.event.digest && first.event.eventId === second.event.eventId,
          "an event has one id and one digest",
        );
        this.counts.acceptedEvents += 1;
      } else hold(false, "an event is accepted once and refused once");
    }
  }
}

/** BigInt as text. */
const plain = (_: string, value: unknown): unknown => (typeof value === "bigint" ? `${value}` : value);

function hold(condition: boolean, promise: string): asserts condition {
  if (!condition) throw new Error(`broken promise: ${promise}`);
}
