import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { seededRng } from "../../../src/platform/rng.js";
import { createPatient, FleetHealth, type HealthChange, type Patient } from "../../../src/smart-router/health/fleet-health.js";
import { healthDefaults } from "../../../src/smart-router/health/settings.js";
import { isChosen, isLive } from "../../../src/smart-router/health/states.js";
import { readWord, type ToldHealth, wordOf } from "../../../src/smart-router/health/told.js";
import type { HealthState } from "../../../src/smart-router/policy.js";

const wellMs = 60_000;
const by = "at other";
const wordMs = 10_000;

type Told = { readonly health: FleetHealth; readonly mcps: readonly Patient[]; readonly changes: HealthChange[] };

/** MCPs that are healthy at `wellMs`, and what changed since. */
function createFleet(count = 3): Told {
  const changes: HealthChange[] = [];
  const health = new FleetHealth({ ...healthDefaults, ejectionJitter: 0 }, seededRng(1), (change) => changes.push(change));
  const mcps = Array.from({ length: count }, (_, index) => createPatient(`m${index}`, 0));
  for (const mcp of mcps) health.opened(mcp, 0);
  for (const mcp of mcps) health.tick(mcp, wellMs);
  changes.length = 0;
  return { health, mcps, changes };
}

function firstOf({ mcps }: Told): Patient {
  const [mcp] = mcps;
  if (mcp === undefined) throw new Error("an empty fleet");
  return mcp;
}

function say({ health }: Told, mcp: Patient, told: ToldHealth, nowMs: number, ageMs = 0): HealthState {
  health.told(mcp, by, told, nowMs - ageMs + wordMs, nowMs);
  return mcp.standing.state;
}

function fail({ health }: Told, mcp: Patient, nowMs: number): void {
  for (let sent = 0; sent < 5; sent += 1) health.ended(mcp, { result: "error", isSlow: false, isLate: false, startedAtMs: nowMs }, nowMs);
}

describe("an MCP whose stream another coordinator holds", () => {
  test("is shut out as long as that one says so, and starts slowly when it says so no longer", () => {
    const fleet = createFleet();
    const mcp = firstOf(fleet);
    for (let nowMs = wellMs; nowMs < wellMs + 120_000; nowMs += 1_000) {
      expect(say(fleet, mcp, "shut_out", nowMs)).toBe("ejected");
      fleet.health.tick(mcp, nowMs + 999);
    }
    expect(say(fleet, mcp, "well", wellMs + 120_000)).toBe("warming");
    expect(fleet.changes.map(({ to, reason }) => [to, reason])).toEqual([
      ["ejected", "shut out by its coordinator (at other)"],
      ["warming", "no longer shut out by its coordinator (at other)"],
    ]);
    expect(fleet.health.ejections).toBe(0);
    expect(mcp.standing.ejectionCount).toBe(0);
  });

  test("is probed ten seconds after the last word, however long the ejection was to be there", () => {
    const fleet = createFleet();
    const mcp = firstOf(fleet);
    say(fleet, mcp, "shut_out", wellMs, 4_000);
    fleet.health.tick(mcp, wellMs + 5_999);
    expect(mcp.standing.state).toBe("ejected");
    fleet.health.tick(mcp, wellMs + 6_000);
    expect(mcp.standing.state).toBe("probing");
  });

  test("is not touched by a word that is older than what it may be", () => {
    const fleet = createFleet();
    const mcp = firstOf(fleet);
    expect(say(fleet, mcp, "shut_out", wellMs, wordMs)).toBe("healthy");
    expect(say(fleet, mcp, "degraded", wellMs, wordMs + 1)).toBe("healthy");
    expect(fleet.changes).toEqual([]);
  });

  test("that came here stays shut out for the rest of the word, and then has to pass probes", () => {
    const fleet = createFleet();
    const mcp = firstOf(fleet);
    say(fleet, mcp, "shut_out", wellMs);
    fleet.health.untold(mcp, by);
    fleet.health.closed(mcp, "lost", wellMs + 1_000);
    fleet.health.opened(mcp, wellMs + 2_000);
    expect(mcp.standing.state).toBe("ejected");
    fleet.health.tick(mcp, wellMs + wordMs);
    expect(mcp.standing.state).toBe("probing");
    for (let probe = 0; probe < 3; probe += 1) fleet.health.probeEnded(mcp, "ok", wellMs + wordMs + 1 + probe, wellMs + wordMs + 1 + probe);
    expect(mcp.standing.state).toBe("warming");
  });

  test("that this coordinator has ejected for itself is not set free by a word, nor before the word ends", () => {
    const fleet = createFleet();
    const mcp = firstOf(fleet);
    fail(fleet, mcp, wellMs);
    expect(say(fleet, mcp, "well", wellMs + 1)).toBe("ejected");
    say(fleet, mcp, "shut_out", wellMs + 29_000);
    fleet.health.tick(mcp, wellMs + 30_000);
    expect(mcp.standing.state).toBe("ejected");
    expect(say(fleet, mcp, "well", wellMs + 31_000)).toBe("warming");
  });

  test("is degraded while it is so there, also when it answers fast here", () => {
    const fleet = createFleet();
    const mcp = firstOf(fleet);
    expect(say(fleet, mcp, "degraded", wellMs)).toBe("degraded");
    for (let sent = 0; sent < 30; sent += 1) {
      fleet.health.ended(mcp, { result: "ok", isSlow: false, isLate: false, startedAtMs: wellMs }, wellMs + sent);
    }
    fleet.health.tick(mcp, wellMs + 1_000);
    expect(mcp.standing.state).toBe("degraded");
    expect(say(fleet, mcp, "well", wellMs + 2_000)).toBe("healthy");
    say(fleet, mcp, "degraded", wellMs + 3_000);
    fleet.health.tick(mcp, wellMs + 3_000 + wordMs);
    expect(mcp.standing.state).toBe("healthy");
  });
});

describe("an MCP that another coordinator has had for longer than this one", () => {
  const begin = () => {
    const changes: HealthChange[] = [];
    const health = new FleetHealth({ ...healthDefaults, ejectionJitter: 0 }, seededRng(1), (change) => changes.push(change));
    const mcps = Array.from({ length: 3 }, (_, index) => createPatient(`m${index}`, 0));
    for (const mcp of mcps) health.opened(mcp, 0);
    return { health, mcps, changes };
  };

  test.each([
    ["well", "healthy"],
    ["degraded", "degraded"],
    ["starting", "warming"],
    ["shut_out", "ejected"],
  ] as const)("and has %s there is %s here at once", (told, state) => {
    const fleet = begin();
    expect(say(fleet, firstOf(fleet), told, 0)).toBe(state);
  });

  test("starts slowly as long as it does so there, or for its own time here when no word comes", () => {
    const fleet = begin();
    const mcp = firstOf(fleet);
    expect(say(fleet, mcp, "starting", 5_000)).toBe("warming");
    expect(say(fleet, mcp, "well", 6_000)).toBe("healthy");
    expect(fleet.changes.at(-1)).toMatchObject({ from: "warming", to: "healthy", reason: "it has started at its coordinator (at other)" });
    const [, other] = fleet.mcps;
    if (other === undefined) throw new Error("there are three");
    say(fleet, other, "well", 6_000, wordMs);
    expect(other.standing.state).toBe("warming");
    fleet.health.tick(other, healthDefaults.warmingMs);
    expect(other.standing.state).toBe("healthy");
  });

  test("starts slowly here after an ejection of this coordinator, whatever the other one says", () => {
    const fleet = begin();
    const mcp = firstOf(fleet);
    fail(fleet, mcp, 0);
    fleet.health.tick(mcp, 31_000);
    for (let probe = 1; probe <= 3; probe += 1) fleet.health.probeEnded(mcp, "ok", 31_000 + probe, 31_000 + probe);
    expect(mcp.standing.state).toBe("warming");
    expect(say(fleet, mcp, "well", 32_000)).toBe("warming");
  });
});

test("words never shut out more than a third of the fleet, never its last MCP, and let everyone come back", () => {
  const step = fc.record({
    mcp: fc.nat(11),
    kind: fc.constantFrom("shut_out", "degraded", "starting", "well", "fail", "close", "open", "tick"),
    afterMs: fc.integer({ min: 0, max: 4_000 }),
    ageMs: fc.integer({ min: 0, max: 12_000 }),
  });
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 12 }), fc.array(step, { maxLength: 120 }), (count, steps) => {
      const fleet = createFleet(count);
      const { health, mcps } = fleet;
      let nowMs = wellMs;
      for (const { mcp: index, kind, afterMs, ageMs } of steps) {
        const mcp = mcps[index % count] ?? firstOf(fleet);
        nowMs += afterMs;
        const before = mcps.filter(({ standing }) => isLive(standing.state) && !isChosen(standing.state)).length;
        if (kind === "tick") for (const one of mcps) health.tick(one, nowMs);
        else if (kind === "fail") fail(fleet, mcp, nowMs);
        else if (kind === "close") {
          health.untold(mcp, by);
          health.closed(mcp, "lost", nowMs);
        } else if (kind === "open") {
          if (mcp.standing.state === "disconnected") health.opened(mcp, nowMs);
        } else if (isLive(mcp.standing.state)) say(fleet, mcp, kind, nowMs, ageMs);
        const live = mcps.filter(({ standing }) => isLive(standing.state));
        const shutOut = live.filter(({ standing }) => !isChosen(standing.state)).length;
        expect(shutOut).toBe(health.shutOutCount);
        // A stream that closes makes the fleet smaller; nobody is shut out beyond the limit by anything else.
        if (shutOut > before) {
          expect(shutOut).toBeLessThanOrEqual(Math.max(1, Math.floor(0.34 * live.length)));
          expect(live.length - shutOut).toBeGreaterThanOrEqual(1);
        }
      }
      // Nothing is said any more: at most an own ejection, then no request that may be repeated for a minute.
      for (let passed = 0; passed <= 100; passed += 1) for (const mcp of mcps) health.tick(mcp, nowMs + passed * 4_000);
      for (const { standing } of mcps) expect(["healthy", "disconnected", "gone"]).toContain(standing.state);
    }),
  );
});

describe("the word about an MCP", () => {
  const states = ["joining", "warming", "healthy", "degraded", "ejected", "probing", "draining", "disconnected", "gone"] as const;

  test("says after a journey as JSON who is starting, shut out, degraded or suspect, and nothing of whom is well", () => {
    fc.assert(
      fc.property(fc.constantFrom(...states), fc.boolean(), (state, isSuspect) => {
        const text = JSON.stringify(wordOf(state, isSuspect));
        const words = { warming: "starting", degraded: "degraded", ejected: "shut_out", probing: "shut_out" } as const;
        const told = state in words ? words[state as keyof typeof words] : "well";
        expect(readWord(JSON.parse(text))).toEqual({ health: told, isSuspect });
        expect(text === "{}").toBe(told === "well" && !isSuspect);
      }),
    );
  });

  test("of another version that says what is not known here says that it is well", () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.jsonValue(), (health, isSuspect) => {
        fc.pre(typeof health !== "string" || !(states as readonly string[]).includes(health));
        expect(readWord({ health, isSuspect })).toEqual({ health: "well", isSuspect: isSuspect === true });
      }),
    );
    expect(readWord({})).toEqual({ health: "well", isSuspect: false });
  });
});
