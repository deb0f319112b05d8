import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  addStream,
  createInFlight,
  dropStream,
  expectInFlight,
  type Flight,
  type InFlight,
  inFlightOf,
  leave,
  placesTakenOf,
  take,
  takeReport,
} from "../../../src/smart-router/in-flight.js";
import { plainRequest } from "../../../src/smart-router/request.js";

const flightAt = (assignedAtMs: number): Flight => ({
  decisionId: `d${assignedAtMs}`,
  isDecided: true,
  mcpId: "m",
  request: plainRequest,
  requestClass: "",
  assignedAtMs,
  inFlightBefore: 0,
  isProbe: false,
  startedAtMs: undefined,
  interactionId: "",
  expiresAtMs: 100_000,
  isCounted: false,
  state: "running",
});

/** At another coordinator since 0, which said at `toldAtMs` that it has `told` in flight; ours were assigned at these times. */
function elsewhere(told: number, toldAtMs: number, assignedAtMs: readonly number[]): InFlight & { readonly flights: readonly Flight[] } {
  const load = createInFlight();
  addStream(load, "at a");
  const flights = assignedAtMs.map(flightAt);
  for (const flight of flights) take(load, flight);
  takeReport(load, "at a", told, toldAtMs, toldAtMs);
  return Object.assign(load, { flights });
}

const half = (flights: readonly Flight[]) => ({ mean: flights.length / 2, variance: flights.length / 4 });
const times = fc.uniqueArray(fc.integer({ min: 0, max: 2_000 }), { maxLength: 30 }).map((all) => all.sort((a, b) => a - b));

describe("what an MCP at another coordinator has in flight", () => {
  test("is what the last words said, the newest most, and what was sent from here beyond what usually is", () => {
    const load = elsewhere(9, 1_000, []);
    expectInFlight(load, half, 1, 2_000);
    expect(inFlightOf(load)).toBe(9);
    for (const nowMs of [3_000, 3_500]) {
      takeReport(load, "at a", 0, nowMs, 2_000);
      expectInFlight(load, half, 1, nowMs);
      expect(inFlightOf(load)).toBe(Math.round(9 * Math.exp(-1 / 5)));
    }
    for (let atMs = 3_600; atMs < 4_000; atMs += 100) take(load, flightAt(atMs));
    expect(inFlightOf(load)).toBe(Math.round(9 * Math.exp(-1 / 5)) + 4);
    takeReport(load, "at a", 0, 60_000, 59_000);
    expectInFlight(load, half, 1, 60_000);
    expect(inFlightOf(load)).toBe(0);
  });

  test("is level while as many are sent as ever, however many ends are not heard yet", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 20 }), fc.integer({ min: 1_000, max: 2_500 }), fc.nat(9), (perSecond, delayMs, told) => {
        const load = elsewhere(told, -delayMs, []);
        const all: Flight[] = [];
        for (let nowMs = 0; nowMs < 60_000; nowMs += 1_000) {
          for (const flight of all.splice(
            0,
            all.findIndex(({ assignedAtMs }) => assignedAtMs > nowMs - delayMs),
          ))
            leave(load, flight);
          takeReport(load, "at a", told, nowMs, nowMs - delayMs);
          for (let one = 0; one < perSecond; one += 1) {
            const flight = flightAt(nowMs + Math.floor((1_000 * (one + 0.5)) / perSecond));
            take(load, flight);
            all.push(flight);
            expectInFlight(load, half, 1, flight.assignedAtMs);
            if (nowMs > 30_000) expect(Math.abs(inFlightOf(load) - told)).toBeLessThanOrEqual(4);
          }
        }
      }),
      { numRuns: 20 },
    );
  });

  test("leaves as many places free as others, and our own that may still run, do not take", () => {
    fc.assert(
      fc.property(fc.nat(40), times, (told, assignedAtMs) => {
        const load = elsewhere(told, 1_000, assignedAtMs);
        expectInFlight(load, half, 1, 2_000);
        const others = Math.max(0, told - assignedAtMs.filter((atMs) => atMs <= 1_000).length);
        expect(placesTakenOf(load)).toBeGreaterThanOrEqual(others + assignedAtMs.length / 2);
        expect(placesTakenOf(load)).toBeLessThanOrEqual(others + assignedAtMs.length);
      }),
    );
  });

  test("is computed anew when one has ended or time has passed, and one more with each request at once", () => {
    const load = elsewhere(6, 1_000, [900, 1_100]);
    let asked = 0;
    const none = () => {
      asked += 1;
      return { mean: 0, variance: 0 };
    };
    expectInFlight(load, none, 10, 2_000);
    const before = inFlightOf(load);
    expect(placesTakenOf(load)).toBe(5);
    take(load, flightAt(2_000));
    expect(inFlightOf(load)).toBe(before + 1);
    expect(placesTakenOf(load)).toBe(6);
    expect(expectInFlight(load, none, 10, 2_009)).toBe(false);
    const [first] = load.flights;
    if (first !== undefined) leave(load, first);
    expectInFlight(load, none, 10, 2_009);
    expectInFlight(load, none, 10, 2_019);
    expect(asked).toBe(3);
  });

  test("is what is counted as soon as a stream of it is here, and no expectation without any", () => {
    const load = elsewhere(6, 1_000, [900, 1_100]);
    addStream(load, "here");
    expect(load.expected).toBeUndefined();
    expect(inFlightOf(load)).toBe(6);
    dropStream(load, "at a");
    expect(inFlightOf(load)).toBe(2);
    expect(expectInFlight(load, half, 1, 9_000)).toBe(false);
  });
});
