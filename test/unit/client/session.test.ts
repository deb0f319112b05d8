import fc from "fast-check";
import { expect, test } from "vitest";
import {
  freshSession,
  type SessionEffect,
  type SessionEvent,
  type SessionRules,
  type SessionState,
  step,
} from "../../../src/client/session.js";

const rules: SessionRules = {
  backoff: { firstMs: 100, maxMs: 30_000 },
  fencedBackoff: { floorMs: 30_000, firstMs: 30_000, maxMs: 600_000 },
  heartbeatMissesMax: 3,
  canRenewKey: false,
  rng: () => 1,
};
const alive = { attempt: 2, isClosing: false, fenceCount: 0 };

/** One state of each kind. */
const states = {
  disconnected: { kind: "disconnected", isFenced: false, ...alive },
  connecting: { kind: "connecting", ...alive },
  handshake: { kind: "handshake", ...alive },
  active: { kind: "active", unansweredCount: 1, ...alive },
  draining: { kind: "draining", reconnectMs: 70, isFenced: false, isHalfClosed: false, ...alive },
  finishing: { kind: "finishing", ...alive, isClosing: true },
  closed: { kind: "closed", why: { kind: "done" } },
} as const satisfies { [K in SessionState["kind"]]: Extract<SessionState, { kind: K }> };

/** One event of each kind, with work still unresolved. */
const events = {
  retryDue: { kind: "retryDue", isEmpty: false },
  hastened: { kind: "hastened" },
  headers: { kind: "headers" },
  welcome: { kind: "welcome", isEmpty: false },
  acked: { kind: "acked" },
  drain: { kind: "drain", reconnectMs: 70, isFenced: false, isSettled: false },
  settled: { kind: "settled" },
  emptied: { kind: "emptied" },
  heartbeatDue: { kind: "heartbeatDue" },
  heartbeatAnswered: { kind: "heartbeatAnswered" },
  unheard: { kind: "unheard" },
  ended: { kind: "ended", code: 14, details: "gone", isEmpty: false },
  close: { kind: "close", isEmpty: false },
  overdue: { kind: "overdue" },
  closeTimedOut: { kind: "closeTimedOut" },
} as const satisfies { [K in SessionEvent["kind"]]: Extract<SessionEvent, { kind: K }> };

/** "next state: effects"; "-" means that nothing happens. */
type Cell = string;
const abandoned = "closed: cancel finish";
const table = {
  disconnected: {
    retryDue: "connecting: open",
    hastened: "disconnected: retryIn",
    headers: "-",
    welcome: "-",
    acked: "-",
    drain: "-",
    settled: "-",
    emptied: "-",
    heartbeatDue: "-",
    heartbeatAnswered: "-",
    unheard: "-",
    ended: "-",
    close: "-",
    overdue: "-",
    closeTimedOut: abandoned,
  },
  connecting: {
    retryDue: "-",
    hastened: "-",
    headers: "handshake:",
    welcome: "active: startSending",
    acked: "-",
    drain: "draining:",
    settled: "-",
    emptied: "-",
    heartbeatDue: "-",
    heartbeatAnswered: "-",
    unheard: "-",
    ended: "disconnected: retryIn",
    close: "-",
    overdue: "connecting: cancel",
    closeTimedOut: abandoned,
  },
  handshake: {
    retryDue: "-",
    hastened: "-",
    headers: "-",
    welcome: "active: startSending",
    acked: "-",
    drain: "draining:",
    settled: "-",
    emptied: "-",
    heartbeatDue: "-",
    heartbeatAnswered: "-",
    unheard: "-",
    ended: "disconnected: retryIn",
    close: "-",
    overdue: "handshake: cancel",
    closeTimedOut: abandoned,
  },
  active: {
    retryDue: "-",
    hastened: "-",
    headers: "-",
    welcome: "-",
    acked: "-",
    drain: "draining:",
    settled: "-",
    emptied: "-",
    heartbeatDue: "active: sendHeartbeat",
    heartbeatAnswered: "-",
    unheard: "-",
    ended: "disconnected: retryIn",
    close: "-",
    overdue: "-",
    closeTimedOut: abandoned,
  },
  draining: {
    retryDue: "-",
    hastened: "-",
    headers: "-",
    welcome: "-",
    acked: "-",
    drain: "-",
    settled: "draining: halfClose",
    emptied: "draining: halfClose",
    heartbeatDue: "-",
    heartbeatAnswered: "-",
    unheard: "-",
    ended: "disconnected: retryIn",
    close: "-",
    overdue: "draining: cancel",
    closeTimedOut: abandoned,
  },
  finishing: {
    retryDue: "-",
    hastened: "-",
    headers: "-",
    welcome: "-",
    acked: "-",
    drain: "-",
    settled: "-",
    emptied: "-",
    heartbeatDue: "-",
    heartbeatAnswered: "-",
    unheard: "-",
    ended: "disconnected: retryIn",
    close: "-",
    overdue: "-",
    closeTimedOut: abandoned,
  },
  closed: {
    retryDue: "-",
    hastened: "-",
    headers: "-",
    welcome: "-",
    acked: "-",
    drain: "-",
    settled: "-",
    emptied: "-",
    heartbeatDue: "-",
    heartbeatAnswered: "-",
    unheard: "-",
    ended: "-",
    close: "-",
    overdue: "-",
    closeTimedOut: "-",
  },
} as const satisfies Record<SessionState["kind"], Record<SessionEvent["kind"], Cell>>;

const kindsOf = (effects: readonly SessionEffect[]) => effects.map((effect) => effect.kind);
const run = (state: SessionState, ...happened: readonly SessionEvent[]) =>
  happened.reduce<{ next: SessionState; effects: readonly SessionEffect[] }>((at, event) => step(at.next, event, rules), {
    next: state,
    effects: [],
  });

for (const [stateKind, cells] of Object.entries(table)) {
  for (const [eventKind, cell] of Object.entries(cells)) {
    test(`${stateKind} on ${eventKind}: ${cell === "-" ? "stays, and does nothing" : cell}`, () => {
      // Keys of the tables above, which satisfy Record over these very kinds.
      const state = states[stateKind as SessionState["kind"]];
      const { next, effects } = step(state, events[eventKind as SessionEvent["kind"]], rules);
      const seen = `${next.kind}: ${kindsOf(effects).join(" ")}`.trimEnd();
      expect(seen).toBe(cell === "-" ? `${stateKind}:` : cell);
    });
  }
}

test("the backoff starts again only after a Welcome and one ack, or one answered heartbeat, on the same stream", () => {
  const welcomed = run({ ...states.connecting, attempt: 4 }, events.welcome).next;
  expect(run(welcomed, events.ended).effects).toEqual([{ kind: "retryIn", delayMs: 1_600 }]);
  expect(run(welcomed, events.acked, events.ended).effects).toEqual([{ kind: "retryIn", delayMs: 100 }]);
  expect(run(welcomed, events.heartbeatDue, events.ended).effects).toEqual([{ kind: "retryIn", delayMs: 1_600 }]);
  expect(run(welcomed, events.heartbeatDue, events.heartbeatAnswered, events.ended).effects).toEqual([{ kind: "retryIn", delayMs: 100 }]);
});

test("a drained session reconnects after the delay that the coordinator gave, not after its own", () => {
  expect(run(states.active, events.drain, events.settled, { ...events.ended, code: 0 }).effects).toEqual([
    { kind: "retryIn", delayMs: 70 },
  ]);
});

test("a fenced session keeps what it holds and waits long, longer each time in a row, before it takes its producer_id back", () => {
  const fence: SessionEvent = { ...events.drain, isFenced: true };
  const fenced = run(states.active, fence, { ...events.ended, code: 0 });
  expect(fenced.next).toMatchObject({ kind: "disconnected", isFenced: true, fenceCount: 1 });
  expect(fenced.effects).toEqual([{ kind: "retryIn", delayMs: 60_000 }]);
  const again = run(fenced.next, events.retryDue, events.welcome, events.acked, fence, { ...events.ended, code: 0 });
  expect(again.effects).toEqual([{ kind: "retryIn", delayMs: 90_000 }]);
  const shortest = step(run(states.active, fence).next, { ...events.ended, code: 0 }, { ...rules, rng: () => 0 });
  expect(shortest.effects).toEqual([{ kind: "retryIn", delayMs: 30_001 }]);
});

test("a session that proved itself and ended for another reason begins its fencings anew", () => {
  const twice: SessionState = { ...states.active, fenceCount: 5 };
  expect(run(twice, events.acked, events.ended).next).toMatchObject({ fenceCount: 0 });
  expect(run(twice, events.ended).next).toMatchObject({ fenceCount: 5 });
});

test("a session that was fenced and has not proved itself since stays in its row of fencings, however its streams end", () => {
  const fence: SessionEvent = { ...events.drain, isFenced: true };
  const fenced = run({ ...states.active, attempt: 0, fenceCount: 4 }, fence, { ...events.ended, code: 0 }).next;
  expect(run(fenced, events.retryDue, events.ended).next).toMatchObject({ kind: "disconnected", fenceCount: 5 });
  expect(run(fenced, events.retryDue, events.welcome, events.ended).next).toMatchObject({ kind: "disconnected", fenceCount: 5 });
  expect(run(fenced, events.retryDue, events.welcome, events.acked, events.ended).next).toMatchObject({ fenceCount: 0 });
});

test("closing a fenced session does not wait for its turn", () => {
  const fenced = run(states.active, { ...events.drain, isFenced: true }, { ...events.ended, code: 0 }).next;
  expect(run(fenced, events.close).next).toEqual({ kind: "closed", why: { kind: "fenced" } });
  expect(run(states.active, events.close, { ...events.drain, isFenced: true }, { ...events.ended, code: 0 }).next).toEqual({
    kind: "closed",
    why: { kind: "fenced" },
  });
});

test("a refused key is replaced where that can be, and ends the session where not", () => {
  const refused: SessionEvent = { ...events.ended, code: 16 };
  const renewing = step(states.active, refused, { ...rules, canRenewKey: true });
  expect([renewing.next.kind, kindsOf(renewing.effects)]).toEqual(["disconnected", ["renewKey", "retryIn"]]);
  expect(run(states.active, refused).next.kind).toBe("closed");
});

test("a stream on which nothing is heard is cut once: not again before the next one has brought a verdict", () => {
  const fresh: SessionState = { ...states.active, attempt: 0 };
  expect(kindsOf(run(fresh, events.unheard).effects)).toEqual(["cancel"]);
  const next = run(fresh, { ...events.ended, code: 1 }, events.retryDue, events.welcome).next;
  expect(run(next, events.unheard).effects).toEqual([]);
  expect(kindsOf(run(next, events.acked, events.unheard).effects)).toEqual(["cancel"]);
});

test("a session that pauses after failures tries soon when it is hastened, and not when it was asked to pause", () => {
  expect(run({ ...states.disconnected, attempt: 9 }, events.hastened)).toEqual({
    next: { ...states.disconnected, attempt: 1 },
    effects: [{ kind: "retryIn", delayMs: 100 }],
  });
  expect(run({ ...states.disconnected, attempt: 0 }, events.hastened).effects).toEqual([]);
  expect(run({ ...states.disconnected, isFenced: true }, events.hastened).effects).toEqual([]);
});

test("a stream is cut after the third heartbeat without an answer, and an answer forgives the misses", () => {
  const fresh: SessionState = { ...states.active, unansweredCount: 0 };
  const { heartbeatDue, heartbeatAnswered } = events;
  expect(kindsOf(run(fresh, heartbeatDue, heartbeatDue, heartbeatDue, heartbeatDue).effects)).toEqual(["cancel"]);
  expect(kindsOf(run(fresh, heartbeatDue, heartbeatDue, heartbeatDue, heartbeatAnswered, heartbeatDue).effects)).toEqual(["sendHeartbeat"]);
});

test.each([3, 7, 9, 12, 16])("gRPC status %i ends the session for good", (code) => {
  expect(run(states.active, { ...events.ended, code }).next).toEqual({ kind: "closed", why: { kind: "refused", code, details: "gone" } });
});

test.each([0, 1, 2, 4, 8, 10, 13, 14, 15])("gRPC status %i means reconnect and resume", (code) => {
  expect(run(states.active, { ...events.ended, code }).next.kind).toBe("disconnected");
});

test("a closing session reconnects as long as something is unresolved, then half-closes and is done", () => {
  const closing = run(states.active, events.close, events.ended, events.retryDue, events.welcome).next;
  expect(closing).toMatchObject({ kind: "active", isClosing: true });
  const emptied = run(closing, events.emptied);
  expect([emptied.next.kind, kindsOf(emptied.effects)]).toEqual(["finishing", ["halfClose"]]);
  expect(run(emptied.next, { kind: "ended", code: 0, details: "", isEmpty: true }).next).toEqual(states.closed);
});

test("whatever happens, a closed session stays closed, and finish comes exactly once, with the state closed", () => {
  const anyEvent = fc.oneof(
    ...Object.values(events).map((event) => fc.constant<SessionEvent>(event)),
    fc.record({
      kind: fc.constant("ended" as const),
      code: fc.integer({ min: 0, max: 16 }),
      details: fc.constant(""),
      isEmpty: fc.boolean(),
    }),
    fc.record({ kind: fc.constant("close" as const), isEmpty: fc.boolean() }),
    fc.record({ kind: fc.constant("retryDue" as const), isEmpty: fc.boolean() }),
  );
  fc.assert(
    fc.property(fc.array(anyEvent, { maxLength: 60 }), (happened) => {
      let state: SessionState = freshSession;
      let finishes = 0;
      for (const event of happened) {
        const wasClosed = state.kind === "closed";
        const { next, effects } = step(state, event, rules);
        finishes += effects.filter((effect) => effect.kind === "finish").length;
        if (wasClosed) expect(next).toBe(state);
        state = next;
      }
      expect(finishes).toBe(state.kind === "closed" ? 1 : 0);
    }),
  );
});
