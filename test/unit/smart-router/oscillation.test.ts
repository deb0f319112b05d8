import { describe, expect, test } from "vitest";
import { playLoop, signChanges, steadyUpdatesPerSecond, stepAtS, variationOf } from "../../../src/simulate/weight-loop.js";

/** Seconds until a table is in force at the streams of each of three coordinators, and until what they saw is known to the publisher. */
const delays = [0, 1, 3];

test("an MCP that its load alone would fill after its capacity halved loses more than it has to, and gets it back once", () => {
  for (const load of [0.5, 0.6]) {
    const after = playLoop({ factor: 0.5, load, delays }).weights.slice(stepAtS - 1);
    expect(signChanges(after)).toBeLessThanOrEqual(1);
    expect(after.at(-1)).toBeLessThan(after[0] ?? 0);
  }
});

describe.each([
  ["halves", 0.5],
  ["doubles", 2],
])("after the capacity of an MCP %s, with tables and signals up to 3 s late", (_, factor) => {
  test.each([0.2, 0.3, 0.4])("its weight goes to its new value without swinging (load %d)", (load) => {
    const { weights, publishedAtS } = playLoop({ factor, load, delays });
    const after = weights.slice(stepAtS - 1);
    const [from = 0, to = 0] = [after.at(0), after.at(-1)];
    expect(Math.sign(to - from)).toBe(Math.sign(factor - 1));
    expect(signChanges(after)).toBeLessThanOrEqual(1);
    expect(variationOf(after)).toBeLessThanOrEqual(1.2);
    expect(steadyUpdatesPerSecond(publishedAtS)).toBeLessThanOrEqual(0.2);
  });
});
