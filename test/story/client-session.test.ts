import { status } from "@grpc/grpc-js";
import { afterEach, describe, expect, test } from "vitest";
import { EventStatus } from "../../gen/mcp/coordinator/v1/events_pb.js";
import type { StreamInteractionsRequest } from "../../gen/mcp/coordinator/v1/interaction_service_pb.js";
import { ApplyStatus, RouteState, type RoutingAck } from "../../gen/mcp/coordinator/v1/routes_pb.js";
import { Capability, DrainReason, ResumeStatus } from "../../gen/mcp/coordinator/v1/session_pb.js";
import type { Settled, StreamSessionOptions } from "../../src/client/options.js";
import { routeDigest } from "../../src/client/route-digest.js";
import { createStreamSession, type StreamSession } from "../../src/client/stream-session.js";
import { type ScriptedCall, type ScriptedCoordinator, startScriptedCoordinator } from "../support/scripted-coordinator.js";

type Frame = StreamInteractionsRequest["frame"] | undefined;
const opened: { coordinator?: ScriptedCoordinator; sessions: StreamSession[] } = { sessions: [] };

afterEach(async () => {
  for (const session of opened.sessions.splice(0)) await session.close();
  opened.coordinator?.stop();
});

/** Starts a scripted coordinator and one session on it. */
async function meet(script: (call: ScriptedCall, frame: Frame) => void, options: Partial<StreamSessionOptions> = {}) {
  const coordinator = await startScriptedCoordinator(script);
  opened.coordinator = coordinator;
  const settled: Settled[] = [];
  const session = createStreamSession({
    endpoint: { target: coordinator.target, key: undefined },
    mcpId: "ocr",
    closeMaxMs: 30_000,
    onSettled: (one) => settled.push(one),
    ...options,
  });
  opened.sessions.push(session);
  return { session, settled };
}

function welcome(
  call: ScriptedCall,
  resume: { readonly resumeAfterSequence?: bigint; readonly resumeStatus?: ResumeStatus } = {},
  window = 1_000,
) {
  const flowControl = { version: 1n, maxUnackedEvents: window, maxUnackedBytes: 1n << 20n };
  call.send({ case: "welcome", value: { ...resume, flowControl, capabilities: [Capability.FLOW_CONTROL, Capability.DRAIN] } });
}

function sequencesOf(frame: Frame): bigint[] {
  if (frame?.case === "event") return [frame.value.sequence];
  return frame?.case === "eventBatch" ? frame.value.events.map((event) => event.sequence) : [];
}

const ack = (call: ScriptedCall, sequence: bigint, more: { status?: EventStatus; retryable?: boolean } = {}) =>
  call.send({ case: "eventAck", value: { sequence, status: EventStatus.STORED, ...more } });

const event = (id: string) => ({ interactionId: id, detail: { case: "start" as const, value: {} } });

test("events are sent after Welcome, acknowledged once each, and closing half-closes and ends with done", async () => {
  const seen: bigint[] = [];
  const { session, settled } = await meet((call, frame) => {
    if (frame?.case === "hello") welcome(call);
    for (const sequence of sequencesOf(frame)) {
      seen.push(sequence);
      ack(call, sequence);
    }
    if (frame === undefined) call.end();
  });
  const ids = ["a", "b", "c"].map((id) => session.report(event(id)));
  expect(await session.flush()).toBe(true);
  expect(seen).toEqual([1n, 2n, 3n]);
  expect(settled.map((one) => one.eventId)).toEqual(ids);
  expect(await session.close()).toEqual({ kind: "done" });
  expect(session.counters).toEqual({
    reported: 3,
    sent: 3,
    stored: 3,
    duplicate: 0,
    notCollected: 0,
    rejected: 0,
    deferred: 0,
    reconnects: 0,
  });
});

describe("what was on its way when the connection was lost", () => {
  const reconnect = async (resumeStatus: ResumeStatus) => {
    const seen: bigint[][] = [[], []];
    const { session, settled } = await meet(
      (call, frame) => {
        if (frame?.case === "hello") welcome(call, call.index === 0 ? {} : { resumeAfterSequence: 2n, resumeStatus });
        for (const sequence of sequencesOf(frame)) {
          seen[call.index]?.push(sequence);
          if (call.index === 0 && sequence === 4n) call.fail(status.UNAVAILABLE, "gone");
          if (call.index === 1) ack(call, sequence, { status: sequence === 1n ? EventStatus.INVALID : EventStatus.DUPLICATE });
        }
        if (frame === undefined) call.end();
      },
      { batchEvents: 1 },
    );
    for (const id of ["a", "b", "c", "d"]) session.report(event(id));
    expect(await session.flush()).toBe(true);
    expect(session.counters.reconnects).toBe(1);
    return { again: seen[1], settled: settled.map((one) => `${one.verdict} ${one.learnt}`) };
  };

  test("is sent again, so that a refusal whose verdict was lost is not taken for a success", async () => {
    const { again, settled } = await reconnect(ResumeStatus.RESUMED);
    expect(again).toEqual([1n, 2n, 3n, 4n]);
    expect(settled).toEqual(["rejected ack", "duplicate ack", "duplicate ack", "duplicate ack"]);
  });

  test("counts as stored where the resume point covers it and it is too old to be asked about", async () => {
    const { again, settled } = await reconnect(ResumeStatus.TOO_OLD);
    expect(again).toEqual([3n, 4n]);
    expect(settled).toEqual(["stored resume", "stored resume", "duplicate ack", "duplicate ack"]);
  });
});

test("with several targets each stream that ends sends the session to the next one, and after the last to the first again", async () => {
  const visited: string[] = [];
  const script = (name: string) => (call: ScriptedCall, frame: Frame) => {
    if (frame?.case === "hello") {
      visited.push(name);
      welcome(call);
    }
    for (const sequence of sequencesOf(frame)) {
      if (visited.length < 4) call.fail(status.UNAVAILABLE, "gone");
      else ack(call, sequence);
    }
    if (frame === undefined) call.end();
  };
  const others = [await startScriptedCoordinator(script("b")), await startScriptedCoordinator(script("c"))];
  const a = await startScriptedCoordinator(script("a"));
  opened.coordinator = a;
  const session = createStreamSession({
    endpoint: { target: [a, ...others].map(({ target }) => target).join(", "), key: undefined },
    mcpId: "ocr",
    rng: () => 0,
  });
  opened.sessions.push(session);
  session.report(event("e"));
  expect(await session.flush()).toBe(true);
  await session.close();
  expect(visited).toEqual(["a", "b", "c", "a"]);
  for (const other of others) other.stop();
});

test("never more events are unacknowledged than the window allows, and a smaller window is honoured as soon as it comes", async () => {
  let unacked: bigint[] = [];
  const peaks = { before: 0, after: 0 };
  const { session } = await meet(
    (call, frame) => {
      if (frame?.case === "hello") welcome(call, {}, 4);
      for (const sequence of sequencesOf(frame)) {
        unacked.push(sequence);
        const phase = sequence <= 4n ? "before" : "after";
        peaks[phase] = Math.max(peaks[phase], unacked.length);
        if (sequence < 4n) continue;
        if (sequence === 4n) call.send({ case: "flowControl", value: { version: 2n, maxUnackedEvents: 1, maxUnackedBytes: 1n << 20n } });
        // Only in the next turn, so that a client that overruns its window is seen to do so.
        setImmediate(() => {
          for (const one of unacked) ack(call, one);
          unacked = [];
        });
      }
      if (frame === undefined) call.end();
    },
    { batchEvents: 1 },
  );
  for (let index = 0; index < 12; index++) session.report(event(`i-${index}`));
  expect(await session.flush()).toBe(true);
  expect(peaks).toEqual({ before: 4, after: 1 });
});

test("a retryable verdict is sent again after its delay with the same bytes, a final one reaches the caller with its reason", async () => {
  const sent: string[] = [];
  const { session, settled } = await meet(
    (call, frame) => {
      if (frame?.case === "hello") welcome(call);
      if (frame?.case === "event") {
        sent.push(frame.value.eventId);
        const { sequence } = frame.value;
        if (sequence === 1n && sent.length === 1) ack(call, sequence, { status: EventStatus.OVERLOADED, retryable: true });
        else if (sequence === 2n) {
          const violations = [{ field: "mcp_id", reason: "REQUIRED", description: "missing" }];
          call.send({ case: "eventAck", value: { sequence, status: EventStatus.INVALID, violations } });
        } else ack(call, sequence);
      }
      if (frame === undefined) call.end();
    },
    { batchEvents: 1 },
  );
  const first = session.report(event("a"));
  const second = session.report(event("b"));
  expect(await session.flush()).toBe(true);
  expect(sent).toEqual([first, second, first]);
  expect(settled.map((one) => [one.eventId, one.verdict])).toEqual([
    [second, "rejected"],
    [first, "stored"],
  ]);
  expect(settled[0]?.ack?.violations[0]?.field).toBe("mcp_id");
});

test("a drain notice stops sending, awaits the acks, half-closes, and the rest goes over the next stream", async () => {
  const log: string[] = [];
  const { session } = await meet(
    (call, frame) => {
      if (frame?.case === "hello") welcome(call, call.index === 0 ? {} : { resumeAfterSequence: 2n });
      for (const sequence of sequencesOf(frame)) {
        log.push(`${call.index} event ${sequence}`);
        if (call.index === 1) ack(call, sequence);
        else if (sequence === 2n) {
          call.send({ case: "drainNotice", value: { reason: DrainReason.SHUTDOWN, newConnection: true } });
          ack(call, 1n);
          ack(call, 2n);
        }
      }
      if (frame === undefined) {
        log.push(`${call.index} half-close`);
        call.end();
      }
    },
    { batchEvents: 1, window: { maxEvents: 2, maxBytes: 1 << 20 } },
  );
  for (const id of ["a", "b", "c"]) session.report(event(id));
  expect(await session.flush()).toBe(true);
  expect(log).toEqual(["0 event 1", "0 event 2", "0 half-close", "1 event 3"]);
});

test("a drain notice with a delay is sent on for so long, and then the next stream follows at once", async () => {
  const log: string[] = [];
  const { session } = await meet((call, frame) => {
    if (frame?.case === "hello") welcome(call, call.index === 0 ? {} : { resumeAfterSequence: 2n });
    for (const sequence of sequencesOf(frame)) {
      log.push(`${call.index} event ${sequence}`);
      if (sequence === 1n) {
        const [reconnectDelay, deadline] = [{ seconds: 2n }, { seconds: 60n }];
        call.send({ case: "drainNotice", value: { reason: DrainReason.SHUTDOWN, newConnection: true, reconnectDelay, deadline } });
      }
      ack(call, sequence);
    }
    if (frame === undefined) {
      log.push(`${call.index} half-close`);
      call.end();
    }
  });
  session.report(event("a"));
  expect(await session.flush()).toBe(true);
  session.report(event("b"));
  expect(await session.flush()).toBe(true);
  await expect.poll(() => log).toContain("0 half-close");
  session.report(event("c"));
  expect(await session.flush()).toBe(true);
  expect(log).toEqual(["0 event 1", "0 event 2", "0 half-close", "1 event 3"]);
});

test("a fenced session keeps its events, says so, and does not come back at once; closing it then is told as fenced", async () => {
  let streams = 0;
  const states: string[] = [];
  const { session, settled } = await meet(
    (call, frame) => {
      if (frame?.case === "hello") {
        streams++;
        welcome(call);
      }
      for (const sequence of sequencesOf(frame)) {
        call.send({ case: "drainNotice", value: { reason: DrainReason.FENCED } });
        ack(call, sequence, { status: EventStatus.FENCED });
        call.end();
      }
    },
    { onState: (state) => states.push(state.kind === "disconnected" && state.isFenced ? "fenced" : state.kind) },
  );
  session.report(event("a"));
  await expect.poll(() => states.at(-1)).toBe("fenced");
  expect(session.state).toMatchObject({ kind: "disconnected", isFenced: true, fenceCount: 1 });
  expect([session.unresolvedCount, settled.length, streams]).toEqual([1, 0, 1]);
  expect(await session.close()).toEqual({ kind: "fenced" });
  expect(() => session.report(event("late"))).toThrow("a newer session has the same producer_id");
});

test("what was sent is sent again when somebody else used the producer_id between, whatever the resume point says", async () => {
  const seen: bigint[][] = [[], []];
  const { session, settled } = await meet(
    (call, frame) => {
      const epochs = [3n, 5n];
      if (frame?.case === "hello")
        call.send({ case: "welcome", value: { producerEpoch: epochs[call.index] ?? 0n, resumeAfterSequence: call.index === 0 ? 0n : 9n } });
      for (const sequence of sequencesOf(frame)) {
        seen[call.index]?.push(sequence);
        if (call.index === 0) call.fail(status.UNAVAILABLE, "gone");
        else ack(call, sequence, { status: EventStatus.DUPLICATE });
      }
      if (frame === undefined) call.end();
    },
    { batchEvents: 1 },
  );
  session.report(event("a"));
  expect(await session.flush()).toBe(true);
  expect(seen).toEqual([[1n], [1n]]);
  expect(settled.map((one) => `${one.verdict} ${one.learnt}`)).toEqual(["duplicate ack"]);
});

test("new settings are applied and acked, those that make no sense rejected; the next Hello names the session before", async () => {
  const acks: string[] = [];
  const hellos: string[] = [];
  const batches: number[] = [];
  const { session } = await meet(
    (call, frame) => {
      if (frame?.case === "hello") {
        hellos.push(frame.value.resumeSessionId);
        call.send({ case: "welcome", value: { sessionId: `s-${call.index}`, capabilities: [Capability.CONFIG] } });
        const config = { heartbeatInterval: { seconds: 1n } };
        call.send({ case: "configUpdate", value: { nonce: "c1", config: { ...config, version: 7n, maxBatchEvents: 2 } } });
        call.send({ case: "configUpdate", value: { nonce: "c2", config: { ...config, version: 8n, maxBatchEvents: 0 } } });
      }
      if (frame?.case === "configAck") {
        acks.push(`${frame.value.nonce} ${ApplyStatus[frame.value.status]} ${frame.value.version}`);
        if (acks.length === 2) call.fail(status.UNAVAILABLE, "again");
      }
      const sequences = sequencesOf(frame);
      if (sequences.length > 0) batches.push(sequences.length);
      for (const sequence of sequences) ack(call, sequence);
      if (frame === undefined) call.end();
    },
    { batchEvents: 50 },
  );
  await expect.poll(() => acks.length).toBe(4);
  for (const id of ["a", "b", "c"]) session.report(event(id));
  expect(await session.flush()).toBe(true);
  expect(acks).toEqual(["c1 APPLIED 7", "c2 REJECTED 7", "c1 APPLIED 7", "c2 REJECTED 7"]);
  expect(hellos).toEqual(["", "s-0"]);
  expect(batches).toEqual([2, 1]);
});

test("a key that is about to expire is replaced on the stream, and one that is refused before the next", async () => {
  const tokens: string[] = [];
  const keys = ["second", "third"];
  const { session } = await meet(
    (call, frame) => {
      if (frame?.case === "hello") {
        welcome(call);
        call.send({ case: "drainNotice", value: { reason: DrainReason.CREDENTIAL_EXPIRY, deadline: { seconds: 60n } } });
      }
      if (frame?.case === "credentialRefresh") {
        tokens.push(frame.value.token);
        call.send({ case: "credentialRefreshAck", value: {} });
        if (call.index === 0) call.fail(status.UNAUTHENTICATED, "expired all the same");
      }
      for (const sequence of sequencesOf(frame)) ack(call, sequence);
      if (frame === undefined) call.end();
    },
    { renewKey: async () => keys.shift() },
  );
  await expect.poll(() => session.counters.reconnects).toBe(1);
  session.report(event("a"));
  expect(await session.flush()).toBe(true);
  expect(tokens).toEqual(["second"]);
  expect(keys).toEqual([]);
});

test("the load of the MCP goes with each heartbeat", async () => {
  const loads: number[] = [];
  await meet(
    (call, frame) => {
      if (frame?.case === "hello") {
        expect(frame.value.capabilities).toContain(Capability.LOAD_REPORT);
        const config = { heartbeatInterval: { nanos: 200_000_000 } };
        call.send({ case: "welcome", value: { capabilities: [Capability.HEARTBEAT], config } });
      }
      if (frame?.case === "heartbeat") call.send({ case: "heartbeatAck", value: { id: frame.value.id } });
      if (frame?.case === "loadReport") loads.push(frame.value.inFlight);
      if (frame === undefined) call.end();
    },
    { load: () => ({ inFlight: 4, queued: 1, utilization: 0.4 }) },
  );
  await expect.poll(() => loads.length).toBeGreaterThan(1);
  expect(new Set(loads)).toEqual(new Set([4]));
});

test("a refused key ends the session without a retry, and a waiting caller is released", async () => {
  let streams = 0;
  const { session } = await meet((call, frame) => {
    streams++;
    if (frame?.case === "hello") call.fail(status.UNAUTHENTICATED, "key unknown");
  });
  session.report(event("a"));
  expect(await session.flush()).toBe(false);
  expect(await session.close()).toEqual({ kind: "refused", code: status.UNAUTHENTICATED, details: "key unknown" });
  expect(streams).toBe(1);
});

test("a table with a wrong digest is rejected and the last good one stays in force", async () => {
  const acks: RoutingAck[] = [];
  const routes = [
    { mcpId: "a", weight: 4_000, state: RouteState.ACTIVE },
    { mcpId: "b", weight: 6_000, state: RouteState.WARMING },
  ];
  const digest = routeDigest(routes.map((route) => ({ ...route, stateNumber: route.state })));
  const { session } = await meet((call, frame) => {
    if (frame?.case === "hello") {
      welcome(call);
      call.send({ case: "routingUpdate", value: { nonce: "1", term: 1n, version: 1n, body: { case: "full", value: { routes } }, digest } });
      call.send({
        case: "routingUpdate",
        value: { nonce: "2", term: 1n, version: 2n, body: { case: "full", value: { routes } }, digest: 7n },
      });
    }
    if (frame?.case === "routingAck") acks.push(frame.value);
    for (const sequence of sequencesOf(frame)) if (acks.length === 2) ack(call, sequence);
    if (frame === undefined) call.end();
  });
  await expect.poll(() => acks.length).toBe(2);
  expect(acks.map((one) => [one.nonce, one.status, one.applied?.version])).toEqual([
    ["1", ApplyStatus.APPLIED, 1n],
    ["2", ApplyStatus.REJECTED, 1n],
  ]);
  expect(session.routes?.version).toBe(1n);
});

test("a full outbox takes nothing more until an ack makes room", async () => {
  let release: (() => void) | undefined;
  const { session } = await meet(
    (call, frame) => {
      if (frame?.case === "hello") welcome(call);
      const sequences = sequencesOf(frame);
      if (sequences.length > 0) release = () => sequences.forEach((sequence) => void ack(call, sequence));
      if (frame === undefined) call.end();
    },
    { outbox: { maxEvents: 2, maxBytes: 1 << 20 } },
  );
  expect(session.report(event("a"))).toBeDefined();
  expect(session.report(event("b"))).toBeDefined();
  expect(session.report(event("c"))).toBeUndefined();
  await expect.poll(() => release).toBeDefined();
  release?.();
  await session.whenWritable();
  expect(session.report(event("c"))).toBeDefined();
  await expect.poll(() => session.counters.sent).toBe(3);
  release?.();
});
