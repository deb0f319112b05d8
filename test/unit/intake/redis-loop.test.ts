import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type LoopEffect, type LoopEvent, type LoopState, step } from "../../../src/intake/redis-stream/loop.js";

const states: Readonly<Record<LoopState["kind"], LoopState>> = {
  idle: { kind: "idle" },
  connecting: { kind: "connecting", failures: 3 },
  waiting: { kind: "waiting", failures: 3 },
  recovering: { kind: "recovering", failures: 3 },
  reading: { kind: "reading" },
  full: { kind: "full" },
  draining: { kind: "draining" },
  stopped: { kind: "stopped" },
};

/** An event by the name of its column: kinds, and for those with facts one column for each that matters. */
const events = {
  start: { kind: "start" },
  connected: { kind: "connected" },
  recovered: { kind: "recovered", hasRoom: true },
  "recovered, no room": { kind: "recovered", hasRoom: false },
  read: { kind: "read", hasRoom: true, isSweepDue: false },
  "read, sweep due": { kind: "read", hasRoom: true, isSweepDue: true },
  "read, no room": { kind: "read", hasRoom: false, isSweepDue: true },
  room: { kind: "room" },
  group_gone: { kind: "group_gone" },
  failed: { kind: "failed" },
  retry_due: { kind: "retry_due" },
  drain: { kind: "drain" },
  done: { kind: "done" },
} as const satisfies Record<string, LoopEvent>;

type EventName = keyof typeof events;
/** `–`: nothing changes. Otherwise the next state and the effect, as SPEC.md has it. */
type Cell = "–" | `${LoopState["kind"]}: ${LoopEffect}`;

const none: Readonly<Record<EventName, Cell>> = {
  start: "–",
  connected: "–",
  recovered: "–",
  "recovered, no room": "–",
  read: "–",
  "read, sweep due": "–",
  "read, no room": "–",
  room: "–",
  group_gone: "–",
  failed: "–",
  retry_due: "–",
  drain: "–",
  done: "–",
};

const table: Readonly<Record<LoopState["kind"], Readonly<Record<EventName, Cell>>>> = {
  idle: { ...none, start: "connecting: open", drain: "stopped: close" },
  connecting: {
    ...none,
    connected: "recovering: recover",
    group_gone: "waiting: time_retry",
    failed: "waiting: time_retry",
    drain: "stopped: close",
  },
  waiting: { ...none, retry_due: "connecting: open", drain: "stopped: close" },
  recovering: {
    ...none,
    recovered: "reading: read",
    "recovered, no room": "full: await_room",
    group_gone: "connecting: make_group",
    failed: "waiting: time_retry",
    drain: "draining: settle",
  },
  reading: {
    ...none,
    read: "reading: read",
    "read, sweep due": "recovering: recover",
    "read, no room": "full: await_room",
    group_gone: "connecting: make_group",
    failed: "waiting: time_retry",
    drain: "draining: settle",
  },
  full: { ...none, room: "reading: read", failed: "waiting: time_retry", drain: "draining: settle" },
  draining: { ...none, failed: "stopped: close", done: "stopped: close" },
  stopped: none,
};

// Keys of complete records.
const stateNames = Object.keys(table) as LoopState["kind"][];
const eventNames = Object.keys(events) as EventName[];

describe("the loop that reads a Redis stream", () => {
  it.each(stateNames)("%s answers every event as the table says", (state) => {
    const answered = eventNames.map((name) => {
      const { next, effect } = step(states[state], events[name]);
      return [name, next === states[state] || effect === "none" ? "–" : `${next.kind}: ${effect}`];
    });
    expect(Object.fromEntries(answered)).toEqual(table[state]);
  });

  it("is told in SPEC.md cell by cell", () => {
    const header = `| state | ${eventNames.join(" | ")} |`;
    const rows = stateNames.map((state) => `| ${state} | ${eventNames.map((name) => table[state][name]).join(" | ")} |`);
    const spec = readFileSync("src/intake/redis-stream/SPEC.md", "utf8");
    for (const line of [header, ...rows]) expect(spec).toContain(line);
  });

  it("counts failures in a row until a read has succeeded", () => {
    const failed = step(step(states.waiting, events.retry_due).next, events.failed).next;
    expect(failed).toEqual({ kind: "waiting", failures: 4 });
    expect(step(step(states.recovering, events.recovered).next, events.failed).next).toEqual({ kind: "waiting", failures: 1 });
  });

  it("ends whatever happened before, once it is drained and done, and nothing starts it again", () => {
    const any = fc.constantFrom(...eventNames);
    fc.assert(
      fc.property(fc.array(any, { maxLength: 30 }), fc.array(any, { maxLength: 10 }), (before, after) => {
        let state = states.idle;
        for (const name of before) state = step(state, events[name]).next;
        state = step(step(state, events.drain).next, events.done).next;
        expect(state.kind).toBe("stopped");
        for (const name of after) expect(step(state, events[name])).toEqual({ next: state, effect: "none" });
      }),
    );
  });
});
