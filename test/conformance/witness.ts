import { clone, create } from "@bufbuild/protobuf";
import { DurationSchema } from "@bufbuild/protobuf/wkt";
import { type EventAck, EventStatus, type InteractionEvent } from "../../gen/mcp/coordinator/v1/events_pb.js";
import { type RoutingUpdate, RoutingUpdateSchema } from "../../gen/mcp/coordinator/v1/routes_pb.js";
import { type EventAckBatch, type FlowControl, FlowControlSchema, type Welcome } from "../../gen/mcp/coordinator/v1/session_pb.js";
import { type ClientRoutes, judgeRoutes } from "../../src/client/routes.js";
import { durationOf, msOf } from "../../src/client/wire/time.js";
import type { LedgerWatch } from "./ledger-watch.js";
import { Progress } from "./progress.js";
import type { AppliedName, ExpectedAck, RunRecord, SeenInit, SeenVerdict } from "./record.js";
import type { Bend, DownFrame, RelayedStream, UpFrame } from "./relay.js";
import type { Terms } from "./scenario.js";
import type { Post } from "./web-relay.js";

/** Versions between two of the coordinator's, for windows that the kit sets. */
const versionsBetween = 1_000n;

/**
 * Stands between the client under test and the coordinator: notes what passes, puts the kit's narrower terms in place of the coordinator's, and does to
 * streams and tables what the scenario says.
 */
export class Witness {
  readonly progress = new Progress();
  readonly #record: RunRecord;
  readonly #terms: Terms;
  readonly #ledger: LedgerWatch;
  readonly #streams = new Map<number, { readonly stream: RelayedStream; readonly ids: Map<bigint, string> }>();
  readonly #muted = new Set<number>();
  readonly #losing = new Set<number>();
  #maxEvents: number;
  #windowChanges = 0n;
  #lastFlow: FlowControl | undefined;
  /** Frames with acks that were kept back on muted streams. */
  withheldAcks = 0;
  /** Events that did not reach the coordinator. */
  lostEvents = 0;
  /** Put in place of the delay of the coordinator's next DrainNotices. */
  drainDelayMs: number | undefined;
  /** The next newer table gets a digest that is not its own. */
  isSpoiling = false;
  /** Tables of the coordinator go no further. */
  isWithholdingTables = false;
  /** The table that the client has to have in force. */
  #inForce: ClientRoutes | undefined;
  readonly #ownNonces = new Set<string>();

  constructor(record: RunRecord, terms: Terms, ledger: LedgerWatch) {
    this.#record = record;
    this.#terms = terms;
    this.#ledger = ledger;
    this.#maxEvents = terms.max_unacked_events;
  }

  get bend(): Bend {
    return {
      downDelayMs: this.#terms.ack_delay_ms,
      opened: (stream) => {
        this.#streams.set(stream.index, { stream, ids: new Map() });
        this.#note({ kind: "opened", stream: stream.index, connection: stream.connection, authorization: stream.authorization });
      },
      up: (stream, frame) => this.#up(stream, frame),
      down: (stream, frame) => (this.#muted.has(stream.index) ? this.#withhold(frame) : this.#down(stream, frame)),
      halfClosed: (stream) => this.#note({ kind: "half_closed", stream: stream.index }),
      ended: (stream, by, code) => {
        this.#streams.delete(stream.index);
        this.#note({ kind: "ended", stream: stream.index, by, code });
      },
    };
  }

  /** The newest stream that is open; undefined without one. */
  get newest(): RelayedStream | undefined {
    return [...this.#streams.values()].at(-1)?.stream;
  }

  get inForce(): ClientRoutes | undefined {
    return this.#inForce;
  }

  /** Nothing of the coordinator reaches this stream any more. */
  mute(stream: number): void {
    this.#muted.add(stream);
  }

  /** Events of the client on this stream do not reach the coordinator any more. */
  lose(stream: number): void {
    this.#losing.add(stream);
  }

  /** Sets the window, in events, on streams to come, and on the newest that is open unless `isTold` is false. */
  setWindow(maxEvents: number, isTold = true): void {
    this.#maxEvents = maxEvents;
    this.#windowChanges += 1n;
    const { newest } = this;
    if (isTold && this.#lastFlow !== undefined && newest !== undefined) this.#send(newest, { case: "flowControl", value: this.#lastFlow });
  }

  /** Sends a table of the kit's own on the newest stream. */
  offer(update: RoutingUpdate, expected: ExpectedAck): void {
    const { newest } = this;
    if (newest === undefined) return;
    this.#ownNonces.add(update.nonce);
    this.#note({ kind: "table", stream: newest.index, update, expected });
    newest.toClient({ case: "routingUpdate", value: update });
  }

  /** Notes a report that came over HTTP. */
  posted({ authorization, request, response }: Post): void {
    const verdicts = response?.acks.map((ack) => verdictOf(ack, ack.eventId));
    this.#note({ kind: "posted", authorization, mcpId: request.mcpId, events: request.events, verdicts });
  }

  #note(seen: SeenInit): void {
    this.progress.add({ atMs: performance.now(), ...seen });
    this.#record.add(seen);
  }

  #up(stream: RelayedStream, frame: UpFrame): readonly UpFrame[] {
    const { index } = stream;
    switch (frame.case) {
      case "hello":
        this.#note({ kind: "hello", stream: index, hello: frame.value });
        break;
      case "event":
        return this.#events(index, [frame.value], frame);
      case "eventBatch":
        return this.#events(index, frame.value.events, frame);
      case "heartbeat":
        this.#note({ kind: "heartbeat", stream: index, heartbeat: frame.value });
        break;
      case "routingAck":
        this.#note({ kind: "routing_ack", stream: index, ack: frame.value });
        if (this.#ownNonces.has(frame.value.nonce)) return [];
        break;
      default:
        break; // passes unseen
    }
    return [frame];
  }

  #events(stream: number, events: readonly InteractionEvent[], frame: UpFrame): readonly UpFrame[] {
    const ids = this.#streams.get(stream)?.ids;
    for (const { sequence, eventId } of events) ids?.set(sequence, eventId);
    this.#ledger.read();
    if (this.#losing.has(stream)) this.lostEvents += events.length;
    this.#note({ kind: "events", stream, events, isLedgered: events.map(({ eventId }) => this.#ledger.sent.has(eventId)) });
    return this.#losing.has(stream) ? [] : [frame];
  }

  #withhold(frame: DownFrame): readonly DownFrame[] {
    if (frame.case === "eventAckBatch" || frame.case === "eventAck") this.withheldAcks += 1;
    return [];
  }

  #send(stream: RelayedStream, frame: DownFrame): void {
    for (const bent of this.#down(stream, frame)) stream.toClient(bent);
  }

  #down(stream: RelayedStream, frame: DownFrame): readonly DownFrame[] {
    const { index } = stream;
    switch (frame.case) {
      case "welcome":
        return this.#welcome(stream, frame.value);
      case "flowControl":
        return [{ case: "flowControl", value: this.#narrow(index, frame.value) }];
      case "heartbeatAck": {
        const { flowControl } = frame.value;
        if (flowControl !== undefined) frame.value.flowControl = this.#narrow(index, flowControl);
        return [frame];
      }
      case "eventAck":
        this.#note({ kind: "verdicts", stream: index, verdicts: [this.#verdictOn(index, frame.value)] });
        return [frame];
      case "eventAckBatch":
        this.#note({ kind: "verdicts", stream: index, verdicts: this.#verdictsIn(index, frame.value) });
        return [frame];
      case "drainNotice": {
        const notice = frame.value;
        if (this.drainDelayMs !== undefined) notice.reconnectDelay = create(DurationSchema, durationOf(this.drainDelayMs));
        if (notice.newConnection) stream.retireConnection();
        this.#note({ kind: "drain", stream: index, notice });
        return [frame];
      }
      case "routingUpdate": {
        const update = this.#table(index, frame.value);
        return update === undefined ? [] : [{ case: "routingUpdate", value: update }];
      }
      default:
        return [frame];
    }
  }

  #welcome(stream: RelayedStream, welcome: Welcome): readonly DownFrame[] {
    const { config, flowControl, routing } = welcome;
    if (config !== undefined) config.maxBatchEvents = Math.min(config.maxBatchEvents, this.#terms.max_batch_events);
    if (flowControl !== undefined) welcome.flowControl = this.#narrow(stream.index, flowControl);
    this.#note({ kind: "welcome", stream: stream.index, welcome });
    const table = routing === undefined ? undefined : this.#table(stream.index, routing);
    if (table === undefined) delete welcome.routing;
    else welcome.routing = table;
    return [{ case: "welcome", value: welcome }];
  }

  #narrow(stream: number, flow: FlowControl): FlowControl {
    this.#lastFlow = flow;
    const narrowed = create(FlowControlSchema, {
      version: flow.version * versionsBetween + this.#windowChanges,
      maxUnackedEvents: Math.min(flow.maxUnackedEvents, this.#maxEvents),
      maxUnackedBytes: BigInt(Math.min(Number(flow.maxUnackedBytes), this.#terms.max_unacked_bytes)),
      pressure: flow.pressure,
    });
    this.#note({ kind: "flow", stream, flow: narrowed });
    return narrowed;
  }

  /** A table of the coordinator on its way: spoilt if it is to be, and noted with what has to be said of it. */
  #table(stream: number, from: RoutingUpdate): RoutingUpdate | undefined {
    if (this.isWithholdingTables) return undefined;
    const judged = judgeRoutes(this.#inForce, from);
    const before = nameOf(this.#inForce);
    if (judged.kind === "applied" && this.isSpoiling) {
      this.isSpoiling = false;
      const spoilt = clone(RoutingUpdateSchema, from);
      spoilt.digest ^= 1n;
      this.#note({ kind: "table", stream, update: spoilt, expected: { status: "rejected", rejection: "out_of_sync", inForce: before } });
      return spoilt;
    }
    if (judged.kind === "applied") this.#inForce = judged.routes;
    const now = nameOf(this.#inForce);
    const isFine = judged.kind !== "rejected" && now !== undefined;
    this.#note({ kind: "table", stream, update: from, expected: isFine ? { status: "applied", inForce: now } : { status: "any" } });
    return from;
  }

  #verdictsIn(stream: number, batch: EventAckBatch): readonly SeenVerdict[] {
    const ids = this.#streams.get(stream)?.ids ?? new Map<bigint, string>();
    const inRanges = batch.ranges.flatMap(({ first, last, status }) =>
      [...ids]
        .filter(([sequence]) => sequence >= first && sequence <= last)
        .map(([, eventId]): SeenVerdict => ({ eventId, status: EventStatus[status] ?? "", isRetryable: false, retryAtMs: 0 })),
    );
    return [...inRanges, ...batch.exceptions.map((ack) => this.#verdictOn(stream, ack))];
  }

  #verdictOn(stream: number, ack: EventAck): SeenVerdict {
    return verdictOf(ack, this.#streams.get(stream)?.ids.get(ack.sequence) ?? ack.eventId);
  }
}

function verdictOf({ status, retryable, retryDelay }: EventAck, eventId: string): SeenVerdict {
  return { eventId, status: EventStatus[status] ?? "", isRetryable: retryable, retryAtMs: performance.now() + msOf(retryDelay, 0) };
}

/** How an ack names a table. */
export function nameOf(routes: ClientRoutes | undefined): AppliedName | undefined {
  return routes === undefined ? undefined : { term: routes.term, version: routes.version, digest: routes.digest };
}
