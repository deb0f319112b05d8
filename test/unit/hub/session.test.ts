import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Session, type SessionEvent, step } from "../../../src/hub/session.js";
import { type Promises, startTraffic, type Terms, type Traffic } from "../../../src/hub/traffic.js";
import { relaxed } from "../../../src/hub/window.js";
import { CoordinatorError } from "../../../src/platform/errors.js";
import { limits } from "../../../src/platform/limits.js";

const promises: Promises = { heartbeat: true, flowControl: true, drain: true };
const full = relaxed.grant;
const terms: Terms = { grant: full, silenceMaxMs: 45_000, drainAtMs: 100_000_000 };
const traffic: Traffic = { ...startTraffic(promises, terms, 0), unackedEvents: 1, unackedBytes: 10 };

const sessions = {
  greeting: { kind: "greeting", openedAtMs: 0, terms },
  opening: { kind: "opening", promises, terms },
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
  window: { kind: "window", grant: { ...full, pressure: "storage_unavailable" }, hasRoom: true },
  cadence: { kind: "cadence", silenceMaxMs: 3_000, drainAtMs: 50_000_000 },
  refreshed: { kind: "refreshed" },
  blocked: { kind: "blocked" },
  unblocked: { kind: "unblocked" },
  half_close: { kind: "half_close" },
  drain: { kind: "drain", reason: "shutdown", untilMs: 9_000 },
  tick: { kind: "tick", isStall: false, credentialLeftMs: undefined },
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

/** What the code does, in the words of the table. "·": nothing at all, not even a counter, or a phase that is no longer counted in. */
function cellOf(session: Session, event: SessionEvent): string {
  const { next, effects } = step(session, event, 0);
  const isNothing = next === session && effects.length === 0;
  const isIdle = session.kind === "greeting" || session.kind === "opening" || session.kind === "closed";
  if (isNothing && (isIdle || event.kind === "opened" || (session.kind === "flushing" && event.kind !== "tick"))) return "·";
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
        expect(cellOf(session, event)).toBe(cell);
      });
    }
  }
});

describe("a session", () => {
  const live = (more: Partial<Traffic>): Session => ({ kind: "live", traffic: { ...traffic, ...more } });
  const kinds = (session: Session, event: SessionEvent, nowMs = 0) => {
    const { next, effects } = step(session, event, nowMs);
    return [next.kind, ...effects.map((effect) => (effect.kind === "fail" ? `fail ${effect.error.reason}` : effect.kind))];
  };

  it("is ended when nothing was sent within the time for Hello, unless we stood still ourselves", () => {
    expect(kinds(sessions.greeting, events.tick, limits.helloMaxMs - 1)).toEqual(["greeting"]);
    expect(kinds(sessions.greeting, events.tick, limits.helloMaxMs)).toEqual(["closed", "fail HELLO_TIMEOUT"]);
    expect(kinds(sessions.greeting, { kind: "tick", isStall: true, credentialLeftMs: undefined }, limits.helloMaxMs)).toEqual(["greeting"]);
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
    expect(full.effects).toEqual([{ kind: "pause" }, { kind: "flow_control", window: { ...terms.grant, pressure: "busy" } }]);
    expect(step(full.next, events.room, 0).effects).toEqual([{ kind: "resume" }, { kind: "flow_control", window: terms.grant }]);
  });

  it("is not told of windows that it did not ask for", () => {
    const silent = live({ promises: { ...promises, flowControl: false }, unackedEvents: limits.windowMaxEvents * 2 });
    expect(kinds(silent, events.events)).toEqual(["live", "pause"]);
    expect(kinds(silent, events.window)).toEqual(["live"]);
  });

  it("that promised heartbeats ends after three are missed; one that did not never does", () => {
    const afterMs = terms.silenceMaxMs + 1;
    expect(kinds(live({}), events.tick, afterMs)).toEqual(["closed", "fail HEARTBEAT_MISSED"]);
    expect(kinds(live({ promises: { ...promises, heartbeat: false } }), events.tick, afterMs * 1000)).toEqual(["live"]);
  });

  it("is held to the heartbeats of the settings in force", () => {
    const hurried = step(live({}), events.cadence, 0).next;
    expect(kinds(hurried, events.tick, 3_000)).toEqual(["live"]);
    expect(kinds(hurried, events.tick, 3_001)).toEqual(["closed", "fail HEARTBEAT_MISSED"]);
  });

  it("that gets too old is told so after its connection was retired; one that knows no notice is flushed", () => {
    expect(kinds(live({}), events.tick, terms.drainAtMs - 1).at(0)).not.toBe("draining");
    expect(kinds(live({ heardAtMs: terms.drainAtMs }), events.tick, terms.drainAtMs)).toEqual([
      "draining",
      "retire_connection",
      "drain_notice",
    ]);
    const plain = live({ promises: { ...promises, drain: false } });
    expect(kinds(plain, events.tick, terms.drainAtMs)).toEqual(["flushing", "retire_connection", "pause"]);
  });

  it("is told once that its credential expires, forgets that when it is refreshed, and ends at the expiry", () => {
    const left = (credentialLeftMs: number): SessionEvent => ({ kind: "tick", isStall: false, credentialLeftMs });
    expect(kinds(live({}), left(limits.credentialNoticeMs + 1))).toEqual(["live"]);
    const told = step(live({}), left(limits.credentialNoticeMs), 0);
    expect(told.effects).toEqual([{ kind: "drain_notice", reason: "credential_expiry", untilMs: limits.credentialNoticeMs }]);
    expect(kinds(told.next, left(5_000))).toEqual(["live"]);
    expect(kinds(step(told.next, events.refreshed, 0).next, left(5_000))).toEqual(["live", "drain_notice"]);
    expect(kinds(told.next, left(0))).toEqual(["closed", "fail KEY_EXPIRED"]);
    expect(kinds(live({ promises: { ...promises, drain: false } }), left(5_000))).toEqual(["live"]);
  });

  it("has what is under way taken when its window shrinks, and is read again once it is inside", () => {
    const grant = { ...full, maxEvents: 125, pressure: "busy" as const };
    const shrunk = step(live({ unackedEvents: 1_000 }), { ...events.window, grant }, 0);
    expect(shrunk.effects).toEqual([{ kind: "pause" }, { kind: "flow_control", window: grant }]);
    expect(step(shrunk.next, { ...events.settled, count: 876, bytes: 0 }, 0).effects.map(({ kind }) => kind)).toEqual(["resume"]);
  });

  it("that goes on above a shrunken window is ended, but only if it promised to keep it, could read of it, and had time", () => {
    const grant = { ...full, maxEvents: 125, pressure: "busy" as const };
    const shrunk = (more: Partial<Traffic>) => step(live(more), { ...events.window, grant }, 0).next;
    const flood = (session: Session, nowMs: number): readonly string[] => {
      let at = session;
      for (let sent = 0; sent <= limits.windowOverrunMaxEvents + 500; sent += 250) {
        const { next, effects } = step(at, { kind: "events", count: 250, bytes: 0, hasRoom: true }, nowMs);
        const failed = effects.flatMap((effect) => (effect.kind === "fail" ? [effect.error.reason] : []));
        if (failed.length > 0) return failed;
        at = step(next, { kind: "settled", count: 125, bytes: 0, hasRoom: true }, nowMs).next;
      }
      return [];
    };
    expect(flood(shrunk({}), limits.windowGraceMs)).toEqual(["WINDOW_OVERRUN"]);
    expect(flood(shrunk({}), limits.windowGraceMs - 1)).toEqual([]);
    expect(flood(shrunk({ promises: { ...promises, flowControl: false } }), limits.windowGraceMs)).toEqual([]);
    expect(flood(step(shrunk({}), events.blocked, 0).next, limits.windowGraceMs)).toEqual([]);
    expect(flood(live({}), limits.windowGraceMs)).toEqual([]);
  });

  it("is not taken for dead while we do not read it, or while we stood still", () => {
    const afterMs = limits.heartbeatIntervalMs * 10;
    expect(kinds(live({ isPaused: true }), events.tick, afterMs)).toEqual(["live"]);
    const stalled = step(live({}), { kind: "tick", isStall: true, credentialLeftMs: undefined }, afterMs);
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
    expect(kinds(live({ promises: plain }), events.drain)).toEqual(["flushing", "retire_connection", "pause"]);
    expect(kinds(live({ promises: plain, unackedEvents: 0 }), events.drain)).toEqual(["closed", "retire_connection", "finish"]);
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
