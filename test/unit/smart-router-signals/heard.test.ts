import fc from "fast-check";
import { expect, test } from "vitest";
import { forgetSilent, type Heard, mergeHeard, type Word, whereabouts } from "../../../src/smart-router/heard.js";
import { byMcpId } from "../../../src/smart-router/order.js";

const noSums = { products: [], targets: [], effects: [] };

/** A coordinator says one thing under one number; `read` is when and how often it was read. */
const word: fc.Arbitrary<Word> = fc
  .record({ coordinatorId: fc.constantFrom("a", "b", "c"), seq: fc.integer({ min: 1, max: 4 }), atMs: fc.integer({ min: 0, max: 50 }) })
  .map(({ coordinatorId, seq, atMs }) => ({
    coordinatorId,
    runId: "r",
    seq,
    atMs: seq * 1_000 + atMs,
    shared: noSums,
    mcps: ["m1", "m2", "m3"]
      .filter((_, index) => (seq + index + coordinatorId.charCodeAt(0)) % 2 === 0)
      .map((mcpId) => ({ mcpId, revision: seq, inFlight: seq, heardAgeMs: seq * 10, endedAgeMs: -1, reports: [], cells: [] })),
  }));
const heard: fc.Arbitrary<Heard> = fc
  .array(word, { maxLength: 6 })
  .map((words) => words.map((one) => new Map([[one.coordinatorId, one]])).reduce<Heard>(mergeHeard, new Map()));
const plain = (of: Heard): unknown => [...of].sort(([a], [b]) => (a < b ? -1 : 1));

test("what is heard comes out the same whatever is read first, together, or twice", () => {
  fc.assert(
    fc.property(heard, heard, heard, (a, b, c) => {
      expect(plain(mergeHeard(a, b))).toEqual(plain(mergeHeard(b, a)));
      expect(plain(mergeHeard(mergeHeard(a, b), c))).toEqual(plain(mergeHeard(a, mergeHeard(b, c))));
      expect(plain(mergeHeard(a, a))).toEqual(plain(a));
    }),
  );
});

test("a coordinator's later word replaces its earlier one and no other", () => {
  fc.assert(
    fc.property(heard, word, (known, next) => {
      const merged = mergeHeard(known, new Map([[next.coordinatorId, next]]));
      const before = known.get(next.coordinatorId);
      expect(merged.get(next.coordinatorId)?.seq).toBe(Math.max(next.seq, before?.seq ?? 0));
      for (const [other, said] of known) if (other !== next.coordinatorId) expect(merged.get(other)).toBe(said);
    }),
  );
});

test("every MCP is in one place: never here and elsewhere, and with the one that heard of it last", () => {
  fc.assert(
    fc.property(heard, fc.subarray(["m1", "m2", "m3"]), (said, here) => {
      const found = whereabouts(said, new Set(here));
      expect([...found.keys()]).toEqual(byMcpId([...found].map(([mcpId]) => ({ mcpId }))).map(({ mcpId }) => mcpId));
      for (const mcpId of ["m1", "m2", "m3"]) {
        const claims = [...said.values()].flatMap((one) =>
          one.mcps.filter((digest) => digest.mcpId === mcpId).map((digest) => one.atMs - digest.heardAgeMs),
        );
        const place = found.get(mcpId);
        if (here.includes(mcpId) || claims.length === 0) expect(place).toBeUndefined();
        else expect(place && place.word.atMs - place.digest.heardAgeMs).toBe(Math.max(...claims));
      }
    }),
  );
});

test("who says nothing for ten seconds is taken for gone", () => {
  const said: Heard = new Map([["a", { coordinatorId: "a", runId: "r", seq: 1, atMs: 1_000, shared: noSums, mcps: [] }]]);
  expect(forgetSilent(said, 11_000, 10_000).size).toBe(1);
  expect(forgetSilent(said, 11_001, 10_000).size).toBe(0);
});
