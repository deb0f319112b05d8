import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { type HealthEvent, nextState } from "../../../src/smart-router/health/states.js";
import type { HealthState } from "../../../src/smart-router/policy.js";

const states = {
  joining: true,
  warming: true,
  healthy: true,
  degraded: true,
  ejected: true,
  probing: true,
  draining: true,
  disconnected: true,
  gone: true,
} satisfies Record<HealthState, true>;

const events = {
  opened: true,
  opened_barred: true,
  returned: true,
  returned_slow: true,
  closed: true,
  drained: true,
  resumed: true,
  warmed: true,
  slowed: true,
  recovered: true,
  failing: true,
  told_shut_out: true,
  told_well: true,
  served: true,
  probed: true,
  probe_failed: true,
  unprobed: true,
  forgotten: true,
} satisfies Record<HealthEvent, true>;

const rows = readFileSync(new URL("../../../src/smart-router/health/SPEC.md", import.meta.url), "utf8")
  .split("\n")
  .map((line) => line.split("|").map((cell) => cell.trim()));
const head = rows.find((row) => row[1] === "state") ?? [];

describe("the states of an MCP", () => {
  it("has a row for each state and a column for each event", () => {
    expect(head.slice(2, -1).sort()).toEqual(Object.keys(events).sort());
    expect(Object.keys(states).filter((state) => rows.some((row) => row[1] === state && row.length === head.length))).toEqual(
      Object.keys(states),
    );
  });

  for (const state of Object.keys(states) as HealthState[]) {
    it(`${state}: every event leads where SPEC.md says`, () => {
      const row = rows.find((cells) => cells[1] === state && cells.length === head.length) ?? [];
      for (const event of Object.keys(events) as HealthEvent[]) {
        expect(`${event}: ${nextState(state, event) ?? "–"}`).toBe(`${event}: ${row[head.indexOf(event)]}`);
      }
    });
  }
});
