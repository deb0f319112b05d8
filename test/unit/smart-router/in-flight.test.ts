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
  isNamed: true,
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
  audited: undefined,
  isReleased: false,
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

describe("places at an MCP at another coordinator", () => {
  test("are taken by what others had there at the last word, and by what of our own requests may still run", () => {
    fc.assert(
      fc.property(fc.nat(40), times, (told, assignedAtMs) => {
        const load = elsewhere(told, 1_000, assignedAtMs);
        expectInFlight(load, half, 1, 2_000);
        const others = Math.max(0, told - assignedAtMs.filter((atMs) => atMs <= 1_000).length);
        expect(placesTakenOf(load)).toBeGreaterThanOrEqual(others + assignedAtMs.length / 2);
        expect(placesTakenOf(load)).toBeLessThanOrEqual(others + assignedAtMs.length);
        expect(inFlightOf(load)).toBe(Math.max(told, assignedAtMs.length));
      }),
    );
  });

  test("are one less with each request at once, and counted anew when one has ended or time has passed", () => {
    const load = elsewhere(6, 1_000, [900, 1_100]);
    let asked = 0;
    const none = () => {
      asked += 1;
      return { mean: 0, variance: 0 };
    };
    expectInFlight(load, none, 10, 2_000);
    expect(placesTakenOf(load)).toBe(5);
    take(load, flightAt(2_000));
    expect(placesTakenOf(load)).toBe(6);
    expect(expectInFlight(load, none, 10, 2_009)).toBe(false);
    const [first] = load.flights;
    if (first !== undefined) leave(load, first);
    expectInFlight(load, none, 10, 2_009);
    expect(placesTakenOf(load)).toBe(6);
    expectInFlight(load, none, 10, 2_019);
    expect(asked).toBe(3);
  });

  test("are those that are counted as soon as a stream of it is here, and no expectation without any", () => {
    const load = elsewhere(6, 1_000, [900, 1_100]);
    addStream(load, "here");
    expect(load.expected).toBeUndefined();
    expect(placesTakenOf(load)).toBe(6);
    dropStream(load, "at a");
    expect(placesTakenOf(load)).toBe(2);
    expect(expectInFlight(load, half, 1, 9_000)).toBe(false);
  });
});
