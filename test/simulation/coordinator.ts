import { pino } from "pino";
import type { Principal } from "../../src/auth/principal.js";
import { Fleet } from "../../src/hub/fleet.js";
import type { Session, SessionEvent, Step } from "../../src/hub/session.js";
import { createIngest, type Ingest } from "../../src/ingest/ingest.js";
import { CoordinatorError } from "../../src/platform/errors.js";
import { limits } from "../../src/platform/limits.js";
import { seededRng } from "../../src/platform/rng.js";
import type { PublishedRoutes } from "../../src/smart-router/table.js";
import type { ManualClock } from "../support/manual-clock.js";
import type { Auditor } from "./auditor.js";
import type { Link } from "./link.js";
import type { StorePart } from "./model-store.js";

const silent = pino({ level: "silent" });

export type CoordinatorDeps = {
  readonly clock: ManualClock;
  readonly auditor: Auditor;
  readonly store: StorePart;
  readonly seed: number;
  readonly stepped: (before: Session, event: SessionEvent, step: Step) => void;
};

/** Keys are named after their MCP here; there is one that nobody knows. */
function keyOf(authorization: string): Principal {
  const mcpId = authorization.replace("Bearer ", "");
  if (mcpId === unknownKey) throw new CoordinatorError("unauthenticated", "the key is not known", { reason: "KEY_UNKNOWN" });
  return { kind: "key", keyId: "renewed", mcpId };
}
export const unknownKey = "nobody";

/** One coordinator process: the real ingest and hub over a store, a clock and randomness of the schedule. */
export class SimCoordinator {
  readonly number: number;
  readonly ingest: Ingest;
  readonly fleet: Fleet;
  readonly links = new Set<Link>();
  state: "up" | "draining" | "down" = "up";
  routes: PublishedRoutes | undefined;
  /** Share of the memory that is in use. */
  memoryShare = 0;
  /** Most that one frame has added to the bytes of the queue. */
  largestFrameBytes = 0;
  readonly #auditor: Auditor;
  #sessionCount = 0;

  constructor(number: number, deps: CoordinatorDeps) {
    this.number = number;
    this.#auditor = deps.auditor;
    const rng = seededRng(deps.seed);
    this.ingest = createIngest({
      store: deps.store,
      pseudonym: (id) => `u_${id}`,
      maxClockSkewMs: 600_000,
      dedupeHorizonMs: 7 * 86_400_000,
      clock: deps.clock,
      rng,
      log: silent,
    });
    this.fleet = new Fleet({
      ingest: this.ingest,
      openProducer: (producerId, mcpId, sessionId) => deps.store.openProducer(producerId, mcpId, sessionId, `c-${number}`),
      readEpochs: (producerIds) => deps.store.readEpochs(producerIds),
      authenticate: keyOf,
      memoryShare: () => this.memoryShare,
      caps: { perProcess: 1_000, perKey: 1_000 },
      currentRoutes: () => this.routes,
      recordRoutingAck: () => {},
      coordinatorId: `c-${number}`,
      settings: {
        version: 1,
        maxBatchEvents: limits.batchMaxEvents,
        maxEventBytes: limits.eventMaxBytes,
        heartbeatIntervalMs: limits.heartbeatIntervalMs,
        dedupeHorizonMs: 7 * 86_400_000,
        maxClockSkewMs: 600_000,
        maxSessionAgeMs: 30 * 86_400_000,
      },
      mintSessionId: () => `c-${number}-s-${this.#sessionCount++}`,
      stepped: deps.stepped,
      clock: deps.clock,
      rng,
      log: silent,
    });
    const seen = new Set<string>();
    this.ingest.follow((events) => {
      for (const event of events) {
        if (seen.has(event.eventId)) deps.auditor.report(`the followers of coordinator ${number} saw ${event.eventId} twice`);
        seen.add(event.eventId);
      }
    });
  }

  /** Opens a stream. False when the coordinator does not take it. */
  admit(principal: Principal, link: Link): boolean {
    if (this.state === "down") return false;
    try {
      link.session = this.fleet.admit(principal, link);
    } catch (thrown) {
      // The port would refuse the call with this status.
      if (!(thrown instanceof CoordinatorError)) throw thrown;
      link.state = "gone";
      return false;
    }
    this.links.add(link);
    return true;
  }

  deliver(link: Link, count: number): void {
    const { queue } = this.ingest;
    for (let i = 0; i < count; i += 1) {
      const before = queue.pendingBytes;
      if (link.deliver(1) === 0) return;
      this.largestFrameBytes = Math.max(this.largestFrameBytes, queue.pendingBytes - before);
    }
  }

  /** The process is gone at once, with all it had in memory. */
  crash(): void {
    this.state = "down";
    for (const link of this.links) link.isOrphan = true;
    this.ingest.queue.close();
    this.fleet.close();
  }

  /** Ends the process after its drain. */
  stop(): void {
    for (const link of this.links)
      if (link.state === "open") this.#auditor.report(`${link.ledger.name} is open after the drain of its coordinator`);
    this.crash();
  }

  checkBounds(): void {
    const { queue } = this.ingest;
    const frames = this.links.size + 1;
    if (queue.pendingEvents > limits.pendingMaxEvents + frames * limits.batchMaxEvents)
      this.#auditor.report(`${queue.pendingEvents} events pend`);
    if (queue.pendingBytes > limits.pendingMaxBytes + frames * this.largestFrameBytes)
      this.#auditor.report(`${queue.pendingBytes} bytes pend`);
    if (queue.pendingEvents < 0 || queue.pendingBytes < 0) this.#auditor.report("the queue counts below zero");
    const unansweredMax = limits.windowMaxEvents * limits.windowPauseFactor + limits.batchMaxEvents;
    for (const link of this.links) {
      if (link.state !== "open") continue;
      if (link.ledger.unanswered > unansweredMax)
        this.#auditor.report(`${link.ledger.name} has ${link.ledger.unanswered} events without a verdict`);
      if (link.overhang > overhangMax)
        this.#auditor.report(`${link.ledger.name} holds ${link.overhang} frames that its peer does not read`);
    }
  }
}

/** Frames that a session may write although its peer should read first: a welcome, notices, windows. Acks and weights wait. */
const overhangMax = 16;
