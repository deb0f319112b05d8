import { describe, expect, it } from "vitest";
import type { Principal } from "../../../src/auth/principal.js";
import type { FleetDeps } from "../../../src/hub/fleet.js";
import type { Transport } from "../../../src/hub/surroundings.js";
import type { Draft } from "../../../src/interaction/event.js";
import type { CoordinatorError } from "../../../src/platform/errors.js";
import { limits } from "../../../src/platform/limits.js";
import type { PublishedRoutes } from "../../../src/smart-router/table.js";
import { StoreFault } from "../../../src/store/store.js";
import type { CapabilityName, ClientFrame, Greeting } from "../../../src/wire/frame.js";
import type { ServerFrame } from "../../../src/wire/server-frame.js";
import { draftOf, noonMs } from "../../support/draft.js";
import { makeFleet, openedOf } from "../../support/make-fleet.js";
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
  table: [{ mcpId: "demo", weight: 10_000, state: "active", why: [] }],
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
      value: { reason: 1, newConnection: true, deadline: { seconds: 5n }, reconnectDelay: { seconds: 1n } },
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
