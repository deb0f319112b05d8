import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Promises, type Session, type SessionEvent, step, type Traffic } from "../../../src/hub/session.js";
import { CoordinatorError } from "../../../src/platform/errors.js";
import { limits } from "../../../src/platform/limits.js";

const promises: Promises = { heartbeat: true, flowControl: true, drain: true };
const traffic: Traffic = {
  promises,
  unackedEvents: 1,
  unackedBytes: 10,
  pressure: "none",
  isPaused: false,
  heardAtMs: 0,
  blockedSinceMs: undefined,
};

const sessions = {
  greeting: { kind: "greeting", openedAtMs: 0 },
  opening: { kind: "opening", promises },
  live: { kind: "live", traffic },
  draining: { kind: "draining", traffic, untilMs: 10_000 },
  flushing: { kind: "flushing", unackedEvents: 1, blockedSinceMs: undefined, untilMs: 10_000 },
  closed: { kind: "closed", atMs: 0, isGone: false },
} satisfies { readonly [K in Session["kind"]]: Extract<Session, { kind: K }> };

const events = {
  hello: { kind: "hello", promises },
  opened: { kind: "opened" },
  events: { kind: "events", count: 1, bytes: 10, hasRoom: true },
  other: { kind: "other" },
  settled: { kind: "settled", count: 1, bytes: 10, hasRoom: true },
  room: { kind: "room" },
  storage: { kind: "storage", isAvailable: false },
  blocked: { kind: "blocked" },
  unblocked: { kind: "unblocked" },
  half_close: { kind: "half_close" },
  drain: { kind: "drain", reason: "shutdown", untilMs: 9_000 },
  tick: { kind: "tick", isStall: false },
  fault: { kind: "fault", error: new CoordinatorError("invalid", "no", { reason: "UNDECODABLE_FRAME" }) },
  gone: { kind: "gone" },
} satisfies { readonly [K in SessionEvent["kind"]]: Extract<SessionEvent, { kind: K }> };

/** The table of SPEC.md: event → phase → cell. */
function readTable(): Map<string, Map<string, string>> {
  const text = readFileSync(new URL("../../../src/hub/SPEC.md", import.meta.url), "utf8");
  const rows = text.split("\n").filter((line) => line.startsWith("|"));
  const start = rows.findIndex((line) => /^\| event +\|/.test(line));
  const cellsOf = (line: string) =>
    line
      .split("|")
      .slice(1, -1)
      .map((cell) => cell.trim());
  const phases = cellsOf(rows[start] ?? "").slice(1);
  const table = new Map<string, Map<string, string>>();
  for (const line of rows.slice(start + 2, start + 2 + Object.keys(events).length)) {
    const [name = "", ...cells] = cellsOf(line);
    table.set(name, new Map(cells.map((cell, i) => [phases[i] ?? "", cell])));
  }
  return table;
}

/** What the code does, in the words of the table. */
function cellOf(session: Session, event: SessionEvent): string {
  const { next, effects } = step(session, event, 0);
  if (next === session && effects.length === 0 && (session.kind === "greeting" || session.kind === "opening" || session.kind === "closed"))
    return "·";
  if (next === session && effects.length === 0 && session.kind === "flushing" && event.kind !== "tick") return "·";
  if (session.kind !== "greeting" && event.kind === "opened") return next === session && effects.length === 0 ? "·" : "?";
  return effects.length === 0 ? next.kind : `${next.kind}: ${effects.map((effect) => effect.kind).join(", ")}`;
}

describe("the session table", () => {
  const table = readTable();

  it("has a cell for every phase and event", () => {
    expect([...table.keys()].sort()).toEqual(Object.keys(events).sort());
    for (const row of table.values()) expect([...row.keys()].sort()).toEqual(Object.keys(sessions).sort());
  });

  for (const [phase, session] of Object.entries(sessions)) {
    for (const [name, event] of Object.entries(events)) {
      it(`says what happens to ${name} while ${phase}`, () => {
        const cell = table.get(name)?.get(phase);
        expect(phase === "opening" && name === "opened" ? cellOfOpened() : cellOf(session, event)).toBe(cell);
      });
    }
  }
});

/** `opened` means something in one phase only. */
function cellOfOpened(): string {
  const { next, effects } = step(sessions.opening, events.opened, 0);
  return `${next.kind}: ${effects.map((effect) => effect.kind).join(", ")}`;
}

describe("a session", () => {
  const live = (more: Partial<Traffic>): Session => ({ kind: "live", traffic: { ...traffic, ...more } });
  const kinds = (session: Session, event: SessionEvent, nowMs = 0) => {
    const { next, effects } = step(session, event, nowMs);
    return [next.kind, ...effects.map((effect) => (effect.kind === "fail" ? `fail ${effect.error.reason}` : effect.kind))];
  };

  it("is ended when nothing was sent within the time for Hello, unless we stood still ourselves", () => {
    expect(kinds(sessions.greeting, events.tick, limits.helloMaxMs - 1)).toEqual(["greeting"]);
    expect(kinds(sessions.greeting, events.tick, limits.helloMaxMs)).toEqual(["closed", "fail HELLO_TIMEOUT"]);
    expect(kinds(sessions.greeting, { kind: "tick", isStall: true }, limits.helloMaxMs)).toEqual(["greeting"]);
  });

  it("is no longer read above two windows, and read again inside one", () => {
    const full = step(live({ unackedEvents: limits.windowMaxEvents * 2 }), events.events, 0);
    expect(full.effects.map((effect) => effect.kind)).toEqual(["pause", "flow_control"]);
    const still = step(full.next, { ...events.settled, count: 500, bytes: 0 }, 0);
    expect(still.effects).toEqual([]);
    const free = step(still.next, { ...events.settled, count: 600, bytes: 0 }, 0);
    expect(free.effects.map((effect) => effect.kind)).toEqual(["resume", "flow_control"]);
  });

  it("is no longer read while the queue of the coordinator is full", () => {
    const full = step(live({}), { ...events.events, hasRoom: false }, 0);
    expect(full.effects).toEqual([{ kind: "pause" }, { kind: "flow_control", pressure: "busy" }]);
    expect(step(full.next, events.room, 0).effects).toEqual([{ kind: "resume" }, { kind: "flow_control", pressure: "none" }]);
  });

  it("is not told of windows that it did not ask for", () => {
    const silent = live({ promises: { ...promises, flowControl: false }, unackedEvents: limits.windowMaxEvents * 2 });
    expect(kinds(silent, events.events)).toEqual(["live", "pause"]);
    expect(kinds(silent, events.storage)).toEqual(["live"]);
  });

  it("that promised heartbeats ends after three are missed; one that did not never does", () => {
    const afterMs = limits.heartbeatIntervalMs * limits.heartbeatMissesMax + 1;
    expect(kinds(live({}), events.tick, afterMs)).toEqual(["closed", "fail HEARTBEAT_MISSED"]);
    expect(kinds(live({ promises: { ...promises, heartbeat: false } }), events.tick, afterMs * 1000)).toEqual(["live"]);
  });

  it("is not taken for dead while we do not read it, or while we stood still", () => {
    const afterMs = limits.heartbeatIntervalMs * 10;
    expect(kinds(live({ isPaused: true }), events.tick, afterMs)).toEqual(["live"]);
    const stalled = step(live({}), { kind: "tick", isStall: true }, afterMs);
    expect(kinds(stalled.next, events.tick, afterMs + 1000)).toEqual(["live"]);
  });

  it("whose acks cannot be written for too long is ended as a slow consumer", () => {
    const blocked = step(live({}), events.blocked, 0).next;
    expect(kinds(step(blocked, events.unblocked, 1).next, events.tick, limits.slowConsumerMaxMs)).toEqual(["live"]);
    expect(kinds(blocked, events.tick, limits.slowConsumerMaxMs)).toEqual(["closed", "fail SLOW_CONSUMER"]);
    const flushing = step(sessions.flushing, events.blocked, 0).next;
    expect(kinds({ ...flushing, untilMs: undefined } as Session, events.tick, limits.slowConsumerMaxMs)).toEqual([
      "closed",
      "fail SLOW_CONSUMER",
    ]);
  });

  it("ends at the deadline of a drain with what is acknowledged by then", () => {
    expect(kinds(sessions.draining, events.tick, 10_000)).toEqual(["closed", "finish"]);
    expect(kinds(sessions.flushing, events.tick, 10_000)).toEqual(["closed", "finish"]);
  });

  it("that knows no DrainNotice is flushed at once when the process drains", () => {
    const plain = { ...promises, drain: false };
    expect(kinds(live({ promises: plain }), events.drain)).toEqual(["flushing", "pause"]);
    expect(kinds(live({ promises: plain, unackedEvents: 0 }), events.drain)).toEqual(["closed", "finish"]);
  });

  it("that is fenced says so and takes no more", () => {
    expect(kinds(live({}), { ...events.drain, reason: "fenced" })).toEqual(["flushing", "drain_notice", "pause"]);
  });

  it("is reset when the peer does not even take its status, and released once", () => {
    const reset = step(sessions.closed, events.tick, limits.slowConsumerMaxMs);
    expect(reset.effects.map((effect) => effect.kind)).toEqual(["reset", "release"]);
    expect(step(reset.next, events.gone, limits.slowConsumerMaxMs).effects).toEqual([]);
  });

  it("is released exactly once whatever happens, and never reads below zero", () => {
    const anyEvent = fc.constantFrom<SessionEvent>(
      ...Object.values(events),
      { ...events.drain, reason: "fenced" },
      { ...events.events, hasRoom: false },
    );
    fc.assert(
      fc.property(fc.array(fc.tuple(anyEvent, fc.nat({ max: 20_000 })), { maxLength: 60 }), (script) => {
        let session: Session = sessions.greeting;
        let nowMs = 0;
        let pending = 0;
        let released = 0;
        const play = (event: SessionEvent) => {
          const before = session.kind;
          const result = step(session, event, nowMs);
          session = result.next;
          if (event.kind === "events" && (before === "greeting" || before === "live" || before === "draining")) pending += event.count;
          released += result.effects.filter((effect) => effect.kind === "release").length;
          const counted = session.kind === "live" || session.kind === "draining" ? session.traffic.unackedEvents : undefined;
          if (counted !== undefined) expect(counted).toBe(pending);
        };
        for (const [event, waitMs] of script) {
          nowMs += waitMs;
          if (event.kind === "settled") {
            if (pending === 0) continue;
            pending -= 1;
          }
          play(event);
        }
        play(events.gone);
        expect(released).toBe(1);
      }),
    );
  });
});
