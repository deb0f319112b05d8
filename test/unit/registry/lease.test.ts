import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { limits } from "../../../src/platform/limits.js";
import { freshLease, type LeaseEvent, stepLease } from "../../../src/registry/lease.js";
import type { Lease, LeaseState } from "../../../src/store/registry-rows.js";

const terms = { suspectMs: 60_000, deadMs: 120_000 };

const leases = {
  alive: { state: "alive", steadyBeats: 0, neededBeats: 2 },
  suspect: { state: "suspect", steadyBeats: 0, neededBeats: 2 },
  dead: { state: "dead", steadyBeats: 0, neededBeats: 2 },
  deregistered: { state: "deregistered", steadyBeats: 0, neededBeats: 2 },
} as const satisfies Record<LeaseState, Lease>;

const events = {
  register: { kind: "register" },
  beat: { kind: "beat" },
  traffic: { kind: "traffic" },
  lost: { kind: "lost" },
  silence: { kind: "silence", silentMs: terms.suspectMs },
  deregister: { kind: "deregister" },
} as const satisfies { readonly [K in LeaseEvent["kind"]]: Extract<LeaseEvent, { kind: K }> };

/** The table of SPEC.md: event → state → cell. */
function readTable(): ReadonlyMap<string, ReadonlyMap<string, string>> {
  const lines = readFileSync(new URL("../../../src/registry/SPEC.md", import.meta.url), "utf8").split("\n");
  const start = lines.findIndex((line) => /^\| event +\|/.test(line));
  const cellsOf = (line: string) =>
    line
      .split("|")
      .slice(1, -1)
      .map((cell) => cell.trim());
  const states = cellsOf(lines[start] ?? "").slice(1);
  const rows = lines.slice(start + 2, start + 2 + Object.keys(events).length).map(cellsOf);
  return new Map(rows.map(([name = "", ...cells]) => [name, new Map(cells.map((cell, index) => [states[index] ?? "", cell]))]));
}

/** What a cell claims of one step from `lease`. */
function expectCell(cell: string, lease: Lease, event: LeaseEvent): void {
  const next = stepLease(lease, event, terms);
  switch (cell) {
    case "=":
      expect(next).toBe(lease);
      return;
    case "alive":
      expect(next).toMatchObject({ state: "alive", neededBeats: lease.neededBeats });
      return;
    case "alive, n=1":
      expect(next).toEqual(freshLease);
      return;
    case "alive at n": {
      expect(next).toEqual({ state: "suspect", steadyBeats: 1, neededBeats: 2 });
      expect(stepLease(next, event, terms)).toEqual({ state: "alive", steadyBeats: 0, neededBeats: 4 });
      return;
    }
    case "suspect/dead":
      expect(next.state).toBe("suspect");
      expect(stepLease(lease, { kind: "silence", silentMs: terms.suspectMs - 1 }, terms)).toBe(lease);
      expect(stepLease(lease, { kind: "silence", silentMs: terms.deadMs }, terms).state).toBe("dead");
      return;
    default:
      expect(next.state).toBe(cell);
  }
}

describe("a lease", () => {
  const table = readTable();
  for (const event of Object.values(events)) {
    for (const lease of Object.values(leases)) {
      it(`that is ${lease.state} does on ${event.kind} what SPEC.md says`, () => {
        const cell = table.get(event.kind)?.get(lease.state);
        expect(cell).toBeDefined();
        expectCell(cell ?? "", lease, event);
      });
    }
  }

  it("that flaps needs twice as many signs each time, up to a bound, and forgets it when it is calm", () => {
    let lease: Lease = freshLease;
    const needed: number[] = [];
    for (let round = 0; round < 6; round++) {
      lease = stepLease(lease, events.lost, terms);
      let beats = 0;
      while (lease.state !== "alive") {
        lease = stepLease(lease, events.beat, terms);
        beats += 1;
      }
      needed.push(beats);
    }
    expect(needed).toEqual([1, 2, 4, 8, 8, 8]);
    for (let beat = 0; beat < 3 * limits.leaseCalmBeats; beat++) lease = stepLease(lease, events.traffic, terms);
    expect(lease).toEqual(freshLease);
  });

  it("whatever happens is dead only after enough silence, ended only when it was deregistered, and needs a bounded number of signs", () => {
    const anyEvent = fc.oneof(
      fc.constantFrom(...Object.values(events)),
      fc.integer({ min: 0, max: 200_000 }).map((silentMs): LeaseEvent => ({ kind: "silence", silentMs })),
    );
    fc.assert(
      fc.property(fc.array(anyEvent, { maxLength: 200 }), (happened) => {
        let lease: Lease = freshLease;
        for (const event of happened) {
          const next = stepLease(lease, event, terms);
          if (next.state === "dead" && lease.state !== "dead") {
            expect(event.kind === "silence" && event.silentMs >= terms.deadMs).toBe(true);
          }
          if (next.state === "deregistered" && lease.state !== "deregistered") expect(event.kind).toBe("deregister");
          expect(next.neededBeats).toBeGreaterThanOrEqual(1);
          expect(next.neededBeats).toBeLessThanOrEqual(limits.leaseNeededBeatsMax);
          expect(next.steadyBeats).toBeLessThan(Math.max(next.neededBeats, limits.leaseCalmBeats));
          lease = next;
        }
      }),
    );
  });
});
