import { expect, test } from "vitest";
import { fuzzTables } from "../../weights/table-fuzz.js";

test.each([1, 2, 3])("whatever a network does to updates, only tables that were published come into force (seed %i)", (seed) => {
  const run = fuzzTables(10_000, seed);
  expect(run.wrong).toBe(0);
  // The run has met what it is about.
  for (const count of [run.applied, run.kept, run.outOfSync, run.staleEpoch]) expect(count).toBeGreaterThan(100);
});
