import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { DurationSchema } from "@bufbuild/protobuf/wkt";
import { describe, expect, it, test } from "vitest";
import { InteractionEventSchema } from "../../../gen/mcp/coordinator/v1/events_pb.js";
import {
  DrainNoticeSchema,
  FlowControlSchema,
  HeartbeatSchema,
  HelloSchema,
  ResumeStatus,
  WelcomeSchema,
} from "../../../gen/mcp/coordinator/v1/session_pb.js";
import {
  checkAcks,
  checkBatches,
  checkLedger,
  checkRefusal,
  checkRetry,
  checkStored,
  checkWindow,
} from "../../conformance/check-events.js";
import { checkClose, checkDrain, checkHeartbeats, checkHttp, checkJitter, checkResume } from "../../conformance/check-session.js";
import type { RunFacts } from "../../conformance/facts.js";
import { behaviours, judgeRun } from "../../conformance/judge.js";
import type { Destiny } from "../../conformance/material.js";
import type { Seen, SeenInit } from "../../conformance/record.js";

const terms = {
  ...{ max_unacked_events: 40, max_unacked_bytes: 262_144, max_batch_events: 16 },
  ...{ ack_delay_ms: 0, heartbeat_seconds: 1, patience_ms: 1_000 },
};
const idOf = (sequence: number): string => `01a1fb72-3256-72a2-a12c-${String(sequence).padStart(12, "0")}`;
const eventOf = (sequence: number) =>
  create(InteractionEventSchema, { eventId: idOf(sequence), sequence: BigInt(sequence), interactionId: "i" });

function factsOf(seen: readonly Seen[], more: Partial<RunFacts> = {}): RunFacts {
  return {
    ...{ seen, told: [], terms, key: "k", exit: 0, stepFault: undefined, appliedAtCoordinator: undefined },
    stored: { events: new Map(), tallyFaults: [] },
    ledger: { sent: new Set(), acked: new Map(), faults: [] },
    ...more,
  };
}

const at = (atMs: number, seen: SeenInit): Seen => ({ atMs, ...seen });
const sent = (atMs: number, sequences: readonly number[], stream = 0): Seen =>
  at(atMs, { kind: "events", stream, events: sequences.map(eventOf), isLedgered: sequences.map(() => true) });
const verdict = (atMs: number, sequence: number, status: string, retryAtMs?: number): Seen =>
  at(atMs, {
    kind: "verdicts",
    stream: 0,
    verdicts: [{ eventId: idOf(sequence), status, isRetryable: retryAtMs !== undefined, retryAtMs: retryAtMs ?? 0 }],
  });
const window = (atMs: number, maxUnackedEvents: number, maxUnackedBytes = 262_144n): Seen =>
  at(atMs, { kind: "flow", stream: 0, flow: create(FlowControlSchema, { maxUnackedEvents, maxUnackedBytes }) });
const opened = (atMs: number, stream: number, connection = `c${stream}`): Seen =>
  at(atMs, { kind: "opened", stream, connection, authorization: "Bearer k" });
const ended = (atMs: number, stream: number, by: "client" | "coordinator" | "relay" = "relay", code = 14): Seen =>
  at(atMs, { kind: "ended", stream, by, code });
const welcome = (atMs: number, stream: number, more: MessageInitShape<typeof WelcomeSchema> = {}): Seen =>
  at(atMs, { kind: "welcome", stream, welcome: create(WelcomeSchema, more) });
const hello = (atMs: number, stream: number, firstUnackedSequence: bigint): Seen =>
  at(atMs, { kind: "hello", stream, hello: create(HelloSchema, { firstUnackedSequence }) });
const fault = (atMs: number, kind: "kill" | "mute" | "lose_grpc"): Seen => at(atMs, { kind: "fault", fault: kind, stream: 0 });
const told = (sequence: number, destiny: Destiny) => ({ event: eventOf(sequence), destiny });

test("a record in which nothing was seen passes no behaviour", () => {
  const judged = judgeRun(factsOf([]), new Set());
  expect(judged.map(({ behaviour }) => behaviour)).toEqual(behaviours);
  expect(judged.filter(({ verdict: found }) => found !== "failed")).toEqual([]);
  expect(judgeRun(factsOf([]), new Set(["http"])).find(({ behaviour }) => behaviour === "http")?.verdict).toBe("not_offered");
});

test("a batch above max_batch_events is found", () => {
  const sequences = (count: number) => Array.from({ length: count }, (_, index) => index + 1);
  expect(checkBatches(factsOf([sent(1, sequences(16))])).faults).toEqual([]);
  expect(checkBatches(factsOf([sent(1, sequences(17))])).faults).toHaveLength(1);
});

describe("the window", () => {
  it("is kept at its size and overrun by one more", () => {
    expect(checkWindow(factsOf([window(0, 2), sent(1, [1, 2])]), "events").faults).toEqual([]);
    expect(checkWindow(factsOf([window(0, 2), sent(1, [1, 2]), sent(2, [3])]), "events").faults).toHaveLength(1);
    expect(checkWindow(factsOf([window(0, 2), sent(1, [1, 2]), verdict(2, 1, "STORED"), sent(3, [3])]), "events").faults).toEqual([]);
  });

  it("that has become smaller may be overrun for as long as it takes to read that, and no longer", () => {
    const shrunken = [window(0, 4), window(1_000, 1), sent(1_100, [1, 2])];
    expect(checkWindow(factsOf(shrunken), "events").faults).toEqual([]);
    expect(checkWindow(factsOf([...shrunken, sent(2_000, [3])]), "events").faults).toHaveLength(1);
  });

  it("in bytes lets one event of any size pass alone", () => {
    expect(checkWindow(factsOf([window(0, 4, 1n), sent(1, [1])]), "bytes").faults).toEqual([]);
    expect(checkWindow(factsOf([window(0, 4, 1n), sent(1, [1, 2])]), "bytes").faults).toHaveLength(1);
  });
});

test("a verdict that never came is found in a ledger, and one that is missing there", () => {
  const facts = (acked: ReadonlyMap<string, readonly string[]>) =>
    factsOf([sent(1, [1]), verdict(2, 1, "STORED")], { told: [told(1, "stored")], ledger: { sent: new Set(), acked, faults: [] } });
  expect(checkAcks(facts(new Map([[idOf(1), ["STORED"]]]))).faults).toEqual([]);
  expect(checkAcks(facts(new Map([[idOf(1), ["INVALID"]]]))).faults).toHaveLength(1);
  expect(checkAcks(facts(new Map())).faults).toHaveLength(1);
});

test("an event that is sent again before its time, or never, is found", () => {
  const stored = { events: new Map([[idOf(1), "equal"] as const]), tallyFaults: [] };
  const facts = (...again: readonly Seen[]) =>
    factsOf([sent(1, [1]), verdict(2, 1, "CLOCK_SKEW", 1_000), ...again], { told: [told(1, "stored_later")], stored });
  expect(checkRetry(facts(sent(1_001, [1])))).toEqual({ occasions: 1, faults: [] });
  expect(checkRetry(facts(sent(500, [1]))).faults).toHaveLength(1);
  expect(checkRetry(facts()).faults).toHaveLength(1);
});

test("an event that is sent again although it was refused for good is found", () => {
  const ledger = { sent: new Set<string>(), acked: new Map([[idOf(1), ["INVALID"]]]), faults: [] };
  const facts = (...again: readonly Seen[]) =>
    factsOf([sent(1, [1]), verdict(2, 1, "INVALID"), ...again], { told: [told(1, "refused")], ledger });
  expect(checkRefusal(facts())).toEqual({ occasions: 1, faults: [] });
  expect(checkRefusal(facts(sent(3, [1]))).faults).toHaveLength(1);
});

test("an event that is on the wire before its line is in the ledger is found", () => {
  const early = at(1, { kind: "events", stream: 0, events: [eventOf(1)], isLedgered: [false] });
  expect(checkLedger(factsOf([early])).faults).toHaveLength(1);
});

test("an event that is lost, stored with other content, or stored although it was refused is found", () => {
  const facts = (destiny: Destiny, found: "equal" | "other" | "nothing") =>
    factsOf([], { told: [told(1, destiny)], stored: { events: new Map([[idOf(1), found]]), tallyFaults: [] } });
  expect(checkStored(facts("stored", "equal")).faults).toEqual([]);
  expect(checkStored(facts("stored", "nothing")).faults).toHaveLength(1);
  expect(checkStored(facts("stored", "other")).faults).toHaveLength(1);
  expect(checkStored(facts("refused", "nothing")).faults).toEqual([]);
  expect(checkStored(facts("refused", "equal")).faults).toHaveLength(1);
});

describe("a Hello after a lost stream", () => {
  const resumed = { resumeStatus: ResumeStatus.RESUMED, resumeAfterSequence: 1n };
  const lostAt = (endMs: number) => [hello(0, 0, 1n), welcome(1, 0), sent(2, [1, 2]), verdict(3, 1, "STORED"), ended(endMs, 0)];
  const lost = lostAt(4);

  it("names the oldest event that has no verdict", () => {
    expect(checkResume(factsOf([...lost, hello(10, 1, 2n), welcome(11, 1, resumed), sent(12, [2], 1)]))).toEqual({
      occasions: 1,
      faults: [],
    });
    expect(checkResume(factsOf([...lost, hello(10, 1, 3n), welcome(11, 1, resumed)])).faults).toHaveLength(1);
  });

  it("does not name one that was settled long before", () => {
    expect(checkResume(factsOf([...lostAt(3_000), hello(9_000, 1, 1n), welcome(9_001, 1, resumed)])).faults).toHaveLength(1);
  });

  it("is not followed by what has its verdict and the resume point covers", () => {
    const again = [hello(3_010, 1, 2n), welcome(3_011, 1, resumed), sent(3_012, [1], 1)];
    expect(checkResume(factsOf([...lostAt(3_000), ...again])).faults).toHaveLength(1);
  });

  it("may name and be followed by what had its verdict as the stream ended: it may not have been read", () => {
    expect(checkResume(factsOf([...lost, hello(10, 1, 1n), welcome(11, 1, resumed), sent(12, [1], 1)])).faults).toEqual([]);
  });
});

describe("attempts to reconnect", () => {
  /** Attempts that fail 1 ms after they began, with `gaps` between. */
  const attempts = (gaps: readonly number[]): readonly Seen[] => {
    const startOf = (index: number) => gaps.slice(0, index + 1).reduce((sum, gap) => sum + gap, 10 + index);
    return [fault(0, "kill"), ...gaps.flatMap((_, index) => [opened(startOf(index), index + 1), ended(startOf(index) + 1, index + 1)])];
  };

  it("with jitter pass; at a fixed pace, doubling without jitter, or in a hurry they do not", () => {
    expect(checkJitter(factsOf(attempts([50, 80, 30, 310, 700, 120]))).faults).toEqual([]);
    expect(checkJitter(factsOf(attempts([500, 500, 500, 500, 500, 500]))).faults).toHaveLength(1);
    expect(checkJitter(factsOf(attempts([100, 200, 400, 800, 1_600, 3_200]))).faults).toHaveLength(1);
    expect(checkJitter(factsOf(attempts(Array.from({ length: 40 }, (_, index) => 1 + (index % 7) * 2)))).faults).toHaveLength(1);
  });
});

describe("heartbeats", () => {
  const beat = (atMs: number): Seen => at(atMs, { kind: "heartbeat", stream: 0, heartbeat: create(HeartbeatSchema, {}) });
  const regular = [welcome(0, 0), beat(1_000), beat(2_000), fault(2_100, "mute"), beat(3_000), beat(4_000), beat(5_000)];

  it("are missed when they stay away", () => {
    expect(checkHeartbeats(factsOf([...regular, ended(6_000, 0, "client")])).faults).toEqual([]);
    expect(checkHeartbeats(factsOf([welcome(0, 0), beat(8_000), fault(8_100, "mute"), ended(11_500, 0, "client")])).faults).toHaveLength(1);
  });

  it("that nobody answers end the stream, neither at once nor never", () => {
    expect(checkHeartbeats(factsOf([...regular, ended(60_000, 0, "client")])).faults.length).toBeGreaterThan(0);
    expect(checkHeartbeats(factsOf([welcome(0, 0), beat(1_000), fault(1_100, "mute"), ended(1_500, 0, "client")])).faults).toHaveLength(1);
  });
});

test("a drained client that comes back too early, on the old connection, or without a half-close is found", () => {
  const notice = create(DrainNoticeSchema, { reconnectDelay: create(DurationSchema, { nanos: 600_000_000 }), newConnection: true });
  const left = at(700, { kind: "half_closed", stream: 0 });
  const run = (...more: readonly Seen[]) =>
    checkDrain(factsOf([opened(0, 0), at(10, { kind: "drain", stream: 0, notice }), ...more])).faults;
  expect(run(left, ended(710, 0, "coordinator", 0), opened(720, 1))).toEqual([]);
  expect(run(left, ended(710, 0, "coordinator", 0), opened(300, 1))).toHaveLength(1);
  expect(run(left, ended(710, 0, "coordinator", 0), opened(720, 1, "c0"))).toHaveLength(1);
  expect(run(ended(710, 0, "client", 1), opened(720, 1))).toHaveLength(1);
});

test("a client that forgets what it posted when the answer is lost is found", () => {
  const post = (atMs: number, isLost: boolean): Seen =>
    at(atMs, {
      ...{ kind: "posted", authorization: "Bearer k", mcpId: "conformance", events: [eventOf(1)] },
      verdicts: isLost ? undefined : [{ eventId: idOf(1), status: "DUPLICATE", isRetryable: false, retryAtMs: 0 }],
    });
  const run = (...posts: readonly Seen[]) =>
    checkHttp(factsOf([fault(0, "lose_grpc"), ...posts, at(50, { kind: "healed" }), welcome(60, 1)])).faults;
  expect(run(post(1, true), post(2, false))).toEqual([]);
  expect(run(post(1, true))).toHaveLength(1);
});

test("a client that ends before it was done, or with another code than 0, is found", () => {
  const closed = [at(1, { kind: "half_closed", stream: 0 }), ended(2, 0, "coordinator", 0)];
  expect(checkClose(factsOf(closed))).toEqual({ occasions: 1, faults: [] });
  expect(checkClose(factsOf(closed, { exit: 1 })).faults).toHaveLength(1);
  expect(checkClose(factsOf([ended(2, 0, "client", 1)])).faults).toHaveLength(1);
});
