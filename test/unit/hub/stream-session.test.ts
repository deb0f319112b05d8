import { describe, expect, it } from "vitest";
import { DrainReason, ResumeStatus } from "../../../gen/mcp/coordinator/v1/session_pb.js";
import type { Principal } from "../../../src/auth/principal.js";
import type { FleetDeps } from "../../../src/hub/fleet.js";
import type { Transport } from "../../../src/hub/surroundings.js";
import type { Draft } from "../../../src/interaction/event.js";
import { CoordinatorError } from "../../../src/platform/errors.js";
import { limits } from "../../../src/platform/limits.js";
import type { PublishedRoutes } from "../../../src/smart-router/table.js";
import { StoreFault } from "../../../src/store/store.js";
import type { CapabilityName, ClientFrame, Greeting } from "../../../src/wire/frame.js";
import type { ServerFrame } from "../../../src/wire/server-frame.js";
import { draftOf, noonMs } from "../../support/draft.js";
import { makeFleet, openedOf, settingsOfTest } from "../../support/make-fleet.js";
import { turn } from "../../support/manual-clock.js";

/** A transport that keeps what is written, and whose room for frames the test decides. */
class Tape implements Transport {
  readonly frames: ServerFrame[] = [];
  readonly log: string[] = [];
  hasRoom = true;
  error: CoordinatorError | undefined;

  constructor(readonly connection: object | undefined) {}

  write = (frame: ServerFrame): boolean => {
    this.frames.push(frame);
    return this.hasRoom;
  };
  pause = (): void => {
    this.log.push("pause");
  };
  resume = (): void => {
    this.log.push("resume");
  };
  end = (): void => {
    this.log.push("end");
  };
  fail = (error: CoordinatorError): void => {
    this.log.push("fail");
    this.error = error;
  };
  reset = (): void => {
    this.log.push("reset");
  };
  retireConnection = (): void => {
    this.log.push("retire");
  };

  /** Names of the frames so far. */
  get cases(): readonly string[] {
    return this.frames.map((frame) => frame.frame.case ?? "");
  }
}

const routes = (version: number): PublishedRoutes => ({
  term: 1,
  version,
  digest: "00000000000000ff",
  table: [{ mcpId: "demo", weight: 10_000, state: "active", maxConcurrent: 0, priority: 0, why: [] }],
  policyId: "test/1",
  reason: "change",
  publishedAtMs: noonMs,
  validForMs: 180_000,
});

function setUp(more: Partial<FleetDeps> & { readonly principal?: Principal } = {}) {
  const acked: string[] = [];
  let table: PublishedRoutes | undefined;
  const { principal = { kind: "anyone" as const }, ...deps } = more;
  const made = makeFleet({
    currentRoutes: () => table,
    recordRoutingAck: ({ producerId, ack }) => acked.push(`${producerId} ${ack.status}`),
    ...deps,
  });
  const open = (who: Principal = principal, connection?: object) => {
    const tape = new Tape(connection);
    return { tape, session: made.fleet.admit(who, tape) };
  };
  const publish = (version: number) => {
    table = routes(version);
    made.fleet.publish(table);
  };
  return { ...made, open, publish, acked };
}

const greeting = (more: Partial<Greeting> = {}): ClientFrame => ({
  kind: "hello",
  greeting: {
    minVersion: 1,
    maxVersion: 1,
    mcpId: "demo",
    producerId: "p-1",
    instanceVersion: "",
    capabilities: new Set<CapabilityName>(["heartbeat", "flow_control", "routing", "config", "drain", "load_report"]),
    ackMode: "coalesced",
    firstUnackedSequence: 0n,
    labels: {},
    resumeSessionId: "",
    ...more,
  },
});

const events = (...drafts: Partial<Draft>[]): ClientFrame => ({ kind: "events", drafts: drafts.map(draftOf) });
const numbered = (from: number, to: number): ClientFrame =>
  events(...Array.from({ length: to - from + 1 }, (_, i) => ({ interactionId: `i-${from + i}`, sequence: BigInt(from + i) })));

/** Sequences with a verdict in the frames of a tape, or in those before `end`. */
function verdictsOf(tape: Tape, end = tape.frames.length): ReadonlySet<bigint> {
  const told = new Set<bigint>();
  for (const { frame } of tape.frames.slice(0, end)) {
    if (frame.case === "eventAck") told.add(frame.value.sequence);
    if (frame.case !== "eventAckBatch") continue;
    for (const { sequence } of frame.value.exceptions) told.add(sequence);
    for (const { first, last } of frame.value.ranges) for (let at = first; at <= last; at += 1n) told.add(at);
  }
  return told;
}

describe("a session", () => {
  it("needs no Hello: a bare event gets its own ack, after the commit", async () => {
    const { store, open } = setUp();
    const { tape, session } = open();
    session.received(events({}));
    await turn();
    expect(tape.frames).toEqual([]);
    await store.last.resolve();
    expect(tape.cases).toEqual(["eventAck"]);
    session.halfClosed();
    expect(tape.log).toContain("end");
  });

  it("is welcomed with its epoch and where to go on", async () => {
    const { open } = setUp();
    const { tape, session } = open();
    session.received(greeting());
    await turn();
    const [welcome] = tape.frames;
    expect(welcome?.frame).toMatchObject({
      case: "welcome",
      value: { producerEpoch: 3n, resumeAfterSequence: 41n, resumeStatus: 2, coordinatorId: "c-1", sessionId: session.id },
    });
    expect(tape.log).toEqual(["pause", "resume"]);
  });

  it("learns that its producer is unknown when it claims to have history", async () => {
    const { open } = setUp({ openProducer: async () => openedOf({ epoch: 1, resumeSequence: 0n, isKnown: false }) });
    const { tape, session } = open();
    session.received(greeting({ firstUnackedSequence: 10n }));
    await turn();
    expect(tape.frames[0]?.frame).toMatchObject({ value: { resumeStatus: 4 } });
  });

  it("is told to come back when the store cannot open it", async () => {
    const { open, fleet } = setUp({ openProducer: () => Promise.reject(new StoreFault("outage", "ECONNREFUSED", "refused")) });
    const { tape, session } = open();
    session.received(greeting());
    await turn();
    expect(tape.error).toMatchObject({ code: "unavailable", reason: "STORE_UNAVAILABLE", retryAfterMs: limits.storeBackoff.maxMs });
    session.gone();
    expect(fleet.size).toBe(0);
  });

  it("is refused without a common version, naming ours", async () => {
    const { open } = setUp();
    const { tape, session } = open();
    session.received(greeting({ minVersion: 2, maxVersion: 3 }));
    expect(tape.error).toMatchObject({ code: "failed_precondition", reason: "UNSUPPORTED_VERSION", metadata: { min: "1", max: "1" } });
  });

  it("is refused when it names another MCP than its key", () => {
    const { open } = setUp({ principal: { kind: "key", keyId: "k", mcpId: "other" } });
    const { tape, session } = open();
    session.received(greeting());
    expect(tape.error).toMatchObject({ code: "forbidden", reason: "MCP_NOT_ALLOWED" });
  });

  it("coalesces the acks of a commit into one frame", async () => {
    const { store, open } = setUp();
    const { tape, session } = open();
    session.received(greeting());
    await turn();
    session.received(numbered(42, 141));
    await turn();
    await store.last.resolve();
    expect(tape.cases).toEqual(["welcome", "eventAckBatch"]);
    expect(tape.frames[1]?.frame).toMatchObject({
      value: { resolvedThroughSequence: 141n, ranges: [{ first: 42n, last: 141n, status: 1 }], timing: { batchEvents: 100 } },
    });
  });

  it("answers the bad one of a batch at once and stores the other sixty-three", async () => {
    const { store, open } = setUp();
    const { tape, session } = open();
    session.received(greeting());
    await turn();
    const drafts = Array.from({ length: 64 }, (_, i) => ({ interactionId: i === 20 ? "" : `i-${i}`, sequence: BigInt(i + 100) }));
    session.received(events(...drafts));
    expect(tape.frames[1]?.frame).toMatchObject({
      case: "eventAckBatch",
      value: { ranges: [], exceptions: [{ sequence: 120n, status: 3, retryable: false, violations: [{ field: "interaction_id" }] }] },
    });
    await turn();
    expect(store.last.events).toHaveLength(63);
    await store.last.resolve();
    expect(tape.frames[2]?.frame).toMatchObject({
      value: {
        ranges: [
          { first: 100n, last: 119n },
          { first: 121n, last: 163n },
        ],
      },
    });
  });

  it("writes no ack while the transport takes none, and one frame for all when it does again", async () => {
    const { store, open } = setUp();
    const { tape, session } = open();
    session.received(greeting());
    await turn();
    tape.hasRoom = false;
    for (let batch = 0; batch < 5; batch += 1) {
      session.received(numbered(42 + batch * 10, 51 + batch * 10));
      await turn();
      await store.last.resolve();
    }
    expect(tape.cases).toEqual(["welcome", "eventAckBatch"]);
    tape.hasRoom = true;
    session.unblocked();
    expect(tape.cases).toEqual(["welcome", "eventAckBatch", "eventAckBatch"]);
    expect(tape.frames[2]?.frame).toMatchObject({ value: { resolvedThroughSequence: 91n, ranges: [{ first: 52n, last: 91n }] } });
  });

  it.each(["coalesced", "each"] as const)(
    "reads no more of a peer that leaves its verdicts unread (%s acks), until they are written",
    async (ackMode) => {
      const { open } = setUp();
      const { tape, session } = open();
      session.received(greeting({ ackMode }));
      await turn();
      tape.log.length = 0;
      tape.hasRoom = false;
      // Refused events need no window: their verdicts are all that they leave behind.
      const refused = events(...Array.from({ length: 400 }, () => ({ interactionId: "" })));
      for (let batch = 0; batch < 4; batch += 1) session.received(refused);
      expect(tape.log).toEqual(["pause"]);
      tape.hasRoom = true;
      session.unblocked();
      expect(tape.log).toEqual(["pause", "resume"]);
      const verdicts = tape.frames.flatMap(({ frame }) =>
        frame.case === "eventAckBatch" ? frame.value.exceptions : frame.case === "eventAck" ? [frame.value] : [],
      );
      expect(verdicts).toHaveLength(1_600);
    },
  );

  it("is read again after a full queue, though it was called once before, while too much of its own was under way", async () => {
    const { store, open } = setUp();
    const [crowd, { tape, session }] = [Array.from({ length: 12 }, () => open()), open()];
    session.received(greeting());
    await turn();
    crowd[0]?.session.received(numbered(1, 1));
    await turn();
    for (let from = 1; from < 2_500; from += 500) session.received(numbered(from, from + 499));
    tape.log.length = 0;
    await store.last.resolve(); // that of the crowd: the queue has room and says so, but the session has too much under way
    for (const { session: other } of crowd) for (let from = 1; from < 2_000; from += 500) other.received(numbered(from, from + 499));
    await store.last.resolve();
    await store.last.resolve(); // some of the session's own, in turn with the crowd's
    expect(tape.log).toEqual([]);
    for (let commits = 0; commits < 8; commits += 1) await store.last.resolve();
    expect(tape.log).toEqual(["resume"]);
  });

  it("is read frame by frame while others have filled the queue, as long as nothing of its own is in it; they are not", async () => {
    const { store, ingest, open } = setUp();
    const [crowd, { tape, session }] = [Array.from({ length: 13 }, () => open()), open()];
    session.received(greeting());
    await turn();
    for (const { session: other } of crowd) for (let from = 1; from < 2_000; from += 500) other.received(numbered(from, from + 499));
    await turn();
    tape.log.length = 0;
    const isFull = () => !ingest.queue.hasRoom;
    for (let at = 42; at < 44; at += 1) {
      session.received(numbered(at, at));
      expect([isFull(), tape.log]).toEqual([true, ["pause"]]);
      await store.last.resolve(); // it stands in the next one
      await store.last.resolve();
      expect([isFull(), tape.log]).toEqual([at === 42, ["pause", "resume"]]);
      tape.log.length = 0;
    }
    expect(verdictsOf(tape)).toEqual(new Set([42n, 43n]));
    expect(crowd.at(-1)?.tape.log).toEqual(["pause"]);
  });

  it("flushes every outstanding ack after a half-close, then ends", async () => {
    const { store, open } = setUp();
    const { tape, session } = open();
    session.received(greeting());
    await turn();
    session.received(numbered(42, 51));
    session.halfClosed();
    await turn();
    expect(tape.log).not.toContain("end");
    await store.last.resolve();
    expect(tape.cases).toEqual(["welcome", "eventAckBatch"]);
    expect(tape.log.at(-1)).toBe("end");
  });

  it("keeps its place through an outage: told once, nothing acked, everything acked after", async () => {
    const { clock, store, open } = setUp();
    const { tape, session } = open();
    session.received(greeting());
    await turn();
    session.received(numbered(42, 51));
    await turn();
    await store.last.reject(new StoreFault("outage", "ECONNREFUSED", "refused"));
    expect(tape.frames[1]?.frame).toMatchObject({ case: "flowControl", value: { version: 2n, pressure: 3 } });
    await clock.advance(limits.storeBackoff.maxMs);
    await store.last.resolve();
    expect(tape.cases).toEqual(["welcome", "flowControl", "flowControl", "eventAckBatch"]);
  });

  it("answers a heartbeat with all that could have been lost", async () => {
    const { store, open, publish } = setUp();
    publish(9);
    const { tape, session } = open();
    session.received(greeting({ capabilities: new Set() }));
    await turn();
    session.received(numbered(42, 51));
    await turn();
    await store.last.resolve();
    session.received({ kind: "heartbeat", id: 77n });
    expect(tape.frames.at(-1)?.frame).toMatchObject({
      case: "heartbeatAck",
      value: { id: 77n, resolvedThroughSequence: 51n, routingVersion: 9n, configVersion: 1n },
    });
  });

  for (const [ackMode, refusals] of [
    ["coalesced", 1],
    ["coalesced", limits.exceptionsPerFrameMax + 1],
    ["each", 3],
  ] as const) {
    it(`says to a heartbeat that ${refusals} refused are resolved only after their verdicts (${ackMode})`, async () => {
      const { store, open } = setUp();
      const { tape, session } = open();
      session.received(greeting({ capabilities: new Set(), ackMode }));
      await turn();
      // The peer stops reading at the first verdict; the others are known, and wait.
      tape.hasRoom = false;
      session.received(numbered(42, 42));
      await turn();
      await store.last.resolve();
      for (let at = 0; at < refusals; at += 1) session.received(events({ interactionId: "", sequence: BigInt(43 + at) }));
      session.received({ kind: "heartbeat", id: 7n });
      expect(verdictsOf(tape).size).toBe(1);
      for (let said = -1; said < tape.frames.length; ) {
        said = tape.frames.length;
        session.unblocked();
      }
      expect(verdictsOf(tape).size).toBe(1 + refusals);
      session.received({ kind: "heartbeat", id: 8n });
      tape.hasRoom = true;
      session.unblocked();
      const answers = tape.frames.flatMap(({ frame }, at) =>
        frame.case === "heartbeatAck" ? [{ at, through: frame.value.resolvedThroughSequence }] : [],
      );
      expect(answers.map(({ through }) => through)).toEqual([42n, BigInt(42 + refusals)]);
      for (const { at, through } of answers) {
        const told = verdictsOf(tape, at);
        for (let sequence = 42n; sequence <= through; sequence += 1n) expect(told.has(sequence)).toBe(true);
      }
    });
  }

  it("gets the table with its welcome, and the newest of those that came while it had not answered", async () => {
    const { open, publish, acked } = setUp();
    publish(1);
    const { tape, session } = open();
    session.received(greeting());
    await turn();
    const welcome = tape.frames[0]?.frame;
    const nonce = welcome?.case === "welcome" ? welcome.value.routing?.nonce : undefined;
    expect(nonce).toBe("1");
    publish(2);
    publish(3);
    expect(tape.cases).toEqual(["welcome"]);
    const ack = { status: "applied", applied: undefined, rejected: [], applyTimeMs: undefined } as const;
    session.received({ kind: "routing_ack", ack: { ...ack, nonce: "nonsense" } });
    expect(tape.frames.at(-1)?.frame).toMatchObject({ case: "serverNotice", value: { code: "ACK_IGNORED" } });
    session.received({ kind: "routing_ack", ack: { ...ack, nonce: "1" } });
    expect(tape.frames.at(-1)?.frame).toMatchObject({ case: "routingUpdate", value: { version: 3n, nonce: "2" } });
    expect(acked).toEqual(["p-1 applied"]);
  });

  it("is not held back for ever by a client that never acks its table", async () => {
    const { clock, open, publish } = setUp();
    publish(1);
    const { tape, session } = open();
    session.received(greeting());
    await turn();
    publish(2);
    await clock.advance(limits.pushAckMaxMs + 1_000);
    expect(tape.frames.at(-1)?.frame).toMatchObject({ case: "routingUpdate", value: { version: 2n } });
  });

  it("that is replaced by a newer Hello of its producer is told so and ended; the newer one lives", async () => {
    const { open } = setUp();
    const older = open();
    older.session.received(greeting());
    await turn();
    const newer = open();
    newer.session.received(greeting());
    await turn();
    expect(older.tape.frames.at(-1)?.frame).toMatchObject({ case: "drainNotice", value: { reason: 5 } });
    expect(older.tape.log.at(-1)).toBe("end");
    expect(newer.session.isClosed).toBe(false);
  });

  it("that the store has fenced delivers the verdicts first", async () => {
    const { store, open } = setUp();
    const { tape, session } = open();
    session.received(greeting());
    await turn();
    session.received(numbered(42, 43));
    await turn();
    await store.last.resolve([{ kind: "stored", storedAtMs: 1 }, { kind: "fenced" }]);
    expect(tape.cases).toEqual(["welcome", "drainNotice", "eventAckBatch"]);
    expect(tape.frames[2]?.frame).toMatchObject({ value: { exceptions: [{ sequence: 43n, status: 9, retryable: false }] } });
    expect(tape.log.at(-1)).toBe("end");
  });

  it("ignores a frame it does not know, and says so", () => {
    const { open } = setUp();
    const { tape, session } = open();
    session.received({ kind: "unknown" });
    expect(tape.frames[0]?.frame).toMatchObject({ case: "serverNotice", value: { code: "UNKNOWN_FRAME" } });
    expect(session.isClosed).toBe(false);
  });

  it("ends on a batch that is too large, and on a second Hello", async () => {
    const { open } = setUp();
    const one = open();
    one.session.received(events(...Array.from({ length: limits.batchMaxEvents + 1 }, () => ({}))));
    expect(one.tape.error).toMatchObject({ code: "busy", reason: "TOO_MANY_EVENTS" });
    const other = open();
    other.session.received(greeting());
    await turn();
    other.session.received(greeting());
    expect(other.tape.error).toMatchObject({ code: "invalid", reason: "HELLO_REPEATED" });
  });
});

describe("the fleet", () => {
  it("drains: notices with a spread delay, then the ends, then nothing is left", async () => {
    const { clock, fleet, open } = setUp();
    const polite = open();
    polite.session.received(greeting());
    await turn();
    const plain = open();
    plain.session.received(events({}));
    const silent = open();
    let isDrained = false;
    void fleet.drain(5_000).then(() => {
      isDrained = true;
    });
    expect(polite.tape.frames.at(-1)?.frame).toMatchObject({
      case: "drainNotice",
      value: { reason: 1, newConnection: true, deadline: { seconds: 5n }, reconnectDelay: { seconds: 0n, nanos: 6_000_000 } },
    });
    expect(silent.tape.log).toEqual(["end"]);
    expect(() => open()).toThrow(/shuts down/);
    polite.session.halfClosed();
    expect(polite.tape.log.at(-1)).toBe("end");
    for (const { session } of [polite, silent]) session.gone();
    await turn();
    expect(isDrained).toBe(false);
    await clock.advance(6_000);
    expect(plain.tape.log.at(-1)).toBe("end");
    plain.session.gone();
    await turn();
    expect(isDrained).toBe(true);
  });

  it("refuses a session above its bound and takes one again when another has gone", () => {
    const { fleet, open } = setUp();
    const sessions = Array.from({ length: 100 }, () => open());
    expect(() => open()).toThrow(/as many as it may/);
    sessions[0]?.session.gone();
    expect(() => open()).not.toThrow();
    expect(fleet.size).toBe(100);
  });

  it("knows the MCPs whose sessions say who they are", async () => {
    const { fleet, open } = setUp();
    const { session } = open();
    open();
    session.received(greeting());
    await turn();
    expect([...fleet.liveMcpIds()]).toEqual(["demo"]);
    session.gone();
    expect([...fleet.liveMcpIds()]).toEqual([]);
  });
});

describe("resuming", () => {
  const statusOf = async (opened: ReturnType<typeof openedOf>, firstUnackedSequence: bigint) => {
    const { open } = setUp({ openProducer: async () => opened });
    const { tape, session } = open();
    session.received(greeting({ firstUnackedSequence }));
    await turn();
    const frame = tape.frames[0]?.frame;
    return frame?.case === "welcome" ? ResumeStatus[frame.value.resumeStatus] : undefined;
  };
  const fresh = openedOf({ epoch: 1, resumeSequence: 0n, isKnown: false });
  const longSilent = openedOf({ silentMs: settingsOfTest.dedupeHorizonMs + 1 });

  it.each([
    ["a producer without history", fresh, 1n, "NEW"],
    ["a producer whose history nobody knows", fresh, 2n, "UNKNOWN_PRODUCER"],
    ["a known producer", openedOf(), 42n, "RESUMED"],
    ["a known producer that holds what was resolved a moment ago", openedOf(), 41n, "RESUMED"],
    ["one silent beyond the horizon that holds nothing resolved", longSilent, 42n, "RESUMED"],
    ["one silent beyond the horizon that does not say what it holds", longSilent, 0n, "RESUMED"],
    ["one silent beyond the horizon that still holds what was resolved before it", longSilent, 41n, "TOO_OLD"],
  ] as const)("%s", async (_, opened, firstUnacked, status) => {
    expect(await statusOf(opened, firstUnacked)).toBe(status);
  });
});

describe("fencing", () => {
  it("lets the greater epoch live when the store answers two Hellos in the wrong order", async () => {
    const answers: ((opened: ReturnType<typeof openedOf>) => void)[] = [];
    const { open } = setUp({ openProducer: () => new Promise((resolve) => answers.push(resolve)) });
    const [first, second] = [open(), open()];
    first.session.received(greeting());
    second.session.received(greeting());
    answers[1]?.(openedOf({ epoch: 5 }));
    await turn();
    answers[0]?.(openedOf({ epoch: 4 }));
    await turn();
    expect(second.session.isClosed).toBe(false);
    expect(first.tape.cases).toEqual(["welcome", "drainNotice"]);
    expect(first.tape.log.at(-1)).toBe("end");
  });

  it("stores nothing that comes after it, and gives what was queued the verdict of the store", async () => {
    let epoch = 2;
    const { store, open } = setUp({ openProducer: async () => openedOf({ epoch: epoch++ }) });
    const older = open();
    older.session.received(greeting());
    await turn();
    older.session.received(numbered(42, 43));
    await turn();
    const queued = store.last;
    const newer = open();
    newer.session.received(greeting());
    await turn();
    older.session.received(numbered(44, 45));
    await queued.resolve([{ kind: "fenced" }, { kind: "fenced" }]);
    expect(older.tape.cases).toEqual(["welcome", "drainNotice", "eventAckBatch"]);
    expect(older.tape.frames[2]?.frame).toMatchObject({ value: { exceptions: [{ status: 9 }, { status: 9 }] } });
    expect(older.tape.log.at(-1)).toBe("end");
    expect(store.calls).toHaveLength(1);
  });

  it("wants no epoch any more for a stream whose client is gone: its session may live on another coordinator by then", async () => {
    const wanted: (() => boolean)[] = [];
    const openProducer = (_producerId: string, _mcpId: string, _sessionId: string, isWanted: () => boolean) => {
      wanted.push(isWanted);
      return new Promise<never>(() => {});
    };
    const { open } = setUp({ openProducer });
    const [gone, waiting] = [open(), open()];
    gone.session.received(greeting());
    waiting.session.received(greeting());
    gone.session.gone();
    expect(wanted.map((isWanted) => isWanted())).toEqual([false, true]);
  });

  it("finds a producer that went to another coordinator within the period, though it stores nothing", async () => {
    const asked: (readonly string[])[] = [];
    let epochs = new Map([["p-1", 3]]);
    const readEpochs = async (ids: readonly string[]) => {
      asked.push(ids);
      return epochs;
    };
    const { clock, open } = setUp({ readEpochs });
    const { tape, session } = open();
    open().session.received(events({}));
    session.received(greeting());
    await turn();
    await clock.advance(limits.fenceCheckIntervalMs + 1_000);
    expect(asked).toEqual([["p-1"]]);
    expect(tape.cases).toEqual(["welcome"]);
    epochs = new Map([["p-1", 4]]);
    await clock.advance(limits.fenceCheckIntervalMs + 1_000);
    expect(tape.frames.at(-1)?.frame).toMatchObject({ case: "drainNotice", value: { reason: DrainReason.FENCED } });
    expect(tape.log.at(-1)).toBe("end");
  });

  it("has a producer that retention forgot reconnect, and lets an unreadable store decide nothing", async () => {
    let answer: () => Promise<Map<string, number>> = () => Promise.reject(new StoreFault("outage", "ECONNREFUSED", "refused"));
    const { clock, open } = setUp({ readEpochs: () => answer() });
    const { tape, session } = open();
    session.received(greeting());
    await turn();
    await clock.advance(limits.fenceCheckIntervalMs * 2 + 1_000);
    expect(tape.cases).toEqual(["welcome"]);
    answer = async () => new Map();
    await clock.advance(limits.fenceCheckIntervalMs + 1_000);
    expect(tape.frames.at(-1)?.frame).toMatchObject({ case: "drainNotice", value: { reason: DrainReason.SESSION_AGE } });
  });

  it("ends the session that a client names before the store has answered, and no stranger's", async () => {
    const key = (keyId: string): Principal => ({ kind: "key", keyId, mcpId: "*" });
    let isAnswered = true;
    const { open } = setUp({ openProducer: () => (isAnswered ? Promise.resolve(openedOf()) : new Promise(() => {})) });
    const older = open(key("k-1"));
    older.session.received(greeting());
    await turn();
    isAnswered = false;
    open(key("k-2")).session.received(greeting({ resumeSessionId: older.session.id }));
    open(key("k-1")).session.received(greeting({ resumeSessionId: older.session.id, producerId: "p-2" }));
    expect(older.session.isClosed).toBe(false);
    open(key("k-1")).session.received(greeting({ resumeSessionId: older.session.id }));
    expect(older.session.isClosed).toBe(true);
  });
});

describe("settings", () => {
  const changed = (more: Partial<typeof settingsOfTest>) => ({ ...settingsOfTest, ...more });
  const answer = (nonce: string, status: "applied" | "rejected", version = 2): ClientFrame => ({
    kind: "config_ack",
    ack: { nonce, version, status, detail: status === "rejected" ? "no" : "" },
  });

  it("are pushed to those who take them, one at a time, and what became of them is counted", async () => {
    const { fleet, open } = setUp();
    const willing = open();
    willing.session.received(greeting());
    const deaf = open();
    deaf.session.received(greeting({ producerId: "p-2", capabilities: new Set(["drain"]) }));
    await turn();
    fleet.reconfigure(changed({ maxBatchEvents: 100 }));
    fleet.reconfigure(changed({ maxBatchEvents: 200 }));
    expect(willing.tape.cases).toEqual(["welcome", "configUpdate"]);
    expect(willing.tape.frames[1]?.frame).toMatchObject({ value: { nonce: "c1", config: { version: 2n, maxBatchEvents: 100 } } });
    expect(deaf.tape.cases).toEqual(["welcome"]);
    expect(fleet.figures()).toMatchObject({ configVersion: 3, configCurrent: 0, configBehind: 1, configRejected: 0 });
    willing.session.received(answer("c1", "rejected", 1));
    expect(fleet.figures()).toMatchObject({ configBehind: 1, configRejected: 1 });
    expect(willing.tape.frames[2]?.frame).toMatchObject({ value: { nonce: "c2", config: { version: 3n, maxBatchEvents: 200 } } });
    willing.session.received(answer("c2", "applied", 3));
    expect(fleet.figures()).toMatchObject({ configCurrent: 1, configBehind: 0, configRejected: 0 });
    willing.session.received(answer("c2", "applied", 3));
    expect(willing.tape.frames.at(-1)?.frame).toMatchObject({ case: "serverNotice", value: { code: "ACK_IGNORED" } });
  });

  it("hold nobody to a shorter heartbeat before it has agreed to it", async () => {
    const { clock, fleet, open } = setUp();
    const { tape, session } = open();
    session.received(greeting());
    await turn();
    fleet.reconfigure(changed({ heartbeatIntervalMs: 1_000 }));
    await clock.advance(4_000);
    expect(tape.error).toBeUndefined();
    session.received(answer("c1", "applied"));
    await clock.advance(4_000);
    expect(tape.error).toMatchObject({ reason: "HEARTBEAT_MISSED" });
  });
});

describe("a credential", () => {
  const key = (keyId: string, more: { readonly mcpId?: string; readonly expiresAtMs?: number } = {}): Principal => ({
    kind: "key",
    keyId,
    mcpId: "demo",
    ...more,
  });
  const ring: Readonly<Record<string, Principal>> = {
    "Bearer good": key("k-2", { expiresAtMs: noonMs + 86_400_000 }),
    "Bearer other": key("k-3", { mcpId: "other" }),
  };
  const authenticate = (authorization: string): Principal => {
    const found = ring[authorization];
    if (found === undefined) throw new CoordinatorError("unauthenticated", "the key is not known", { reason: "KEY_UNKNOWN" });
    return found;
  };
  const refresh = (token: string): ClientFrame => ({ kind: "credential_refresh", token });

  it("that expires is announced, can be replaced on the stream, and the session goes on", async () => {
    const { clock, open } = setUp({ authenticate, principal: key("k-1", { expiresAtMs: noonMs + 200_000 }) });
    const { tape, session } = open();
    session.received(greeting({ capabilities: new Set(["drain"]) }));
    await turn();
    await clock.advance(200_000 - limits.credentialNoticeMs);
    expect(tape.frames.at(-1)?.frame).toMatchObject({
      case: "drainNotice",
      value: { reason: DrainReason.CREDENTIAL_EXPIRY, newConnection: false },
    });
    session.received(refresh("other"));
    expect(tape.frames.at(-1)?.frame).toMatchObject({ case: "credentialRefreshAck", value: { refusalReason: "MCP_NOT_ALLOWED" } });
    session.received(refresh("good"));
    expect(tape.frames.at(-1)?.frame).toMatchObject({
      value: { refusalReason: "", expiresAt: { seconds: BigInt(noonMs / 1000 + 86_400) } },
    });
    await clock.advance(200_000);
    expect(tape.error).toBeUndefined();
    expect(session.principal).toMatchObject({ keyId: "k-2" });
  });

  it("that nobody replaces ends the stream at its expiry", async () => {
    const { clock, open } = setUp({ principal: key("k-1", { expiresAtMs: noonMs + 5_000 }) });
    const { tape, session } = open();
    session.received(greeting({ capabilities: new Set() }));
    await turn();
    await clock.advance(4_999);
    expect(tape.error).toBeUndefined();
    await clock.advance(1);
    expect(tape.error).toMatchObject({ code: "unauthenticated", reason: "KEY_EXPIRED" });
  });

  it("cannot be guessed on a stream: the third refusal ends it", async () => {
    const { open } = setUp({ authenticate, principal: key("k-1") });
    const { tape, session } = open();
    session.received(greeting());
    await turn();
    for (const guess of ["a", "b"]) session.received(refresh(guess));
    expect(tape.cases.slice(1)).toEqual(["credentialRefreshAck", "credentialRefreshAck"]);
    session.received(refresh("c"));
    expect(tape.error).toMatchObject({ code: "unauthenticated", reason: "KEY_UNKNOWN" });
  });
});

describe("caps", () => {
  it("bound the sessions of a key and of a connection, say which quota it was, and leave the others alone", async () => {
    const { fleet, open } = setUp({ caps: { perProcess: 1_000, perKey: 2 } });
    const key = (keyId: string): Principal => ({ kind: "key", keyId, mcpId: "*" });
    const held = [open(key("k-1")), open(key("k-1"))];
    expect(() => open(key("k-1"))).toThrow(
      expect.objectContaining({ code: "busy", reason: "KEY_SESSIONS_EXHAUSTED", quota: expect.objectContaining({ subject: "key:k-1" }) }),
    );
    expect(() => open(key("k-2"))).not.toThrow();
    held[0]?.session.gone();
    expect(() => open(key("k-1"))).not.toThrow();
    const connection = {};
    for (let i = 0; i < limits.sessionsPerConnectionMax; i += 1) open({ kind: "anyone" }, connection);
    expect(() => open({ kind: "anyone" }, connection)).toThrow(expect.objectContaining({ reason: "CONNECTION_SESSIONS_EXHAUSTED" }));
    expect(() => open({ kind: "anyone" }, {})).not.toThrow();
    expect(fleet.size).toBe(3 + limits.sessionsPerConnectionMax + 1);
  });
});

describe("pressure", () => {
  it("shrinks the window of every session, says why, and repeats it with each heartbeat until it is over", async () => {
    let memoryShare = 0;
    const { clock, fleet, open } = setUp({ memoryShare: () => memoryShare });
    const { tape, session } = open();
    session.received(greeting());
    await turn();
    memoryShare = limits.memoryHighShare;
    await clock.advance(2_000);
    expect(tape.frames.slice(1).map((frame) => frame.frame)).toMatchObject([
      { case: "flowControl", value: { version: 2n, maxUnackedEvents: 500, pressure: 4 } },
      { case: "flowControl", value: { version: 3n, maxUnackedEvents: 250, pressure: 4 } },
    ]);
    session.received({ kind: "heartbeat", id: 1n });
    expect(tape.frames.at(-1)?.frame).toMatchObject({ value: { flowControl: { version: 3n, maxUnackedEvents: 250, pressure: 4 } } });
    expect(fleet.figures().grant).toEqual({ maxEvents: 250, maxBytes: limits.windowMaxBytes / 4, pressure: "memory" });
    memoryShare = 0;
    await clock.advance(limits.pressureCalmMs * 2 + 2_000);
    expect(tape.frames.at(-1)?.frame).toMatchObject({ case: "flowControl", value: { maxUnackedEvents: 1_000, pressure: 1 } });
  });

  it("is told once the peer reads again: one window, one heartbeat, however often they changed", async () => {
    let memoryShare = 0;
    const { clock, open } = setUp({ memoryShare: () => memoryShare });
    const { tape, session } = open();
    session.received(greeting());
    await turn();
    tape.hasRoom = false;
    session.received({ kind: "heartbeat", id: 1n });
    memoryShare = 1;
    for (let id = 2n; id < 50n; id += 1n) session.received({ kind: "heartbeat", id });
    await clock.advance(3_000);
    tape.hasRoom = true;
    session.unblocked();
    expect(tape.cases).toEqual(["welcome", "heartbeatAck", "heartbeatAck", "flowControl"]);
    expect(tape.frames[2]?.frame).toMatchObject({ value: { id: 49n } });
    expect(tape.frames[3]?.frame).toMatchObject({ value: { maxUnackedEvents: 125 } });
  });
});

describe("age", () => {
  it("ends a session in good order, each a little earlier than the settings say: GOAWAY first, then the notice", async () => {
    const { clock, open } = setUp({ settings: { ...settingsOfTest, maxSessionAgeMs: 100_000 } });
    const { tape, session } = open();
    session.received(greeting({ capabilities: new Set(["drain"]) }));
    await turn();
    await clock.advance(94_000);
    expect(tape.log).not.toContain("retire");
    await clock.advance(1_000);
    expect(tape.log.at(-1)).toBe("retire");
    expect(tape.frames.at(-1)?.frame).toMatchObject({
      case: "drainNotice",
      value: { reason: DrainReason.SESSION_AGE, newConnection: true },
    });
    session.halfClosed();
    expect(tape.log.at(-1)).toBe("end");
  });
});

describe("load", () => {
  it("is kept as each session last said, added up by MCP, and forgotten when it is old", async () => {
    const { clock, fleet, open } = setUp();
    const load = (inFlight: number, utilization: number): ClientFrame => ({
      kind: "load_report",
      report: { inFlight, queued: 1, utilization },
    });
    const [one, other] = [open(), open()];
    one.session.received(greeting());
    other.session.received(greeting({ producerId: "p-2" }));
    await turn();
    one.session.received(load(9, 0.1));
    one.session.received(load(3, 0.5));
    other.session.received(load(Number.MAX_SAFE_INTEGER, 1));
    expect(fleet.figures().loads).toEqual([
      { mcpId: "demo", sessionCount: 2, inFlight: 3 + limits.loadReportMax, queued: 2, utilization: 0.75 },
    ]);
    other.session.received(load(1, Number.NaN));
    expect(other.tape.frames.at(-1)?.frame).toMatchObject({ case: "serverNotice", value: { code: "LOAD_IGNORED" } });
    await clock.advance(limits.loadReportMaxAgeMs - 30_000);
    one.session.received(load(4, 0.2));
    await clock.advance(30_001);
    expect(fleet.figures().loads).toEqual([{ mcpId: "demo", sessionCount: 1, inFlight: 4, queued: 1, utilization: 0.2 }]);
  });
});
