import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Candidate } from "../../../../src/smart-router/decision.js";
import { recordOf, recordOfRow, rowOf } from "../../../../src/smart-router/log/decision-record.js";
import { candidateOf, contextOfTest, decisionOf, signalsOfTest } from "./decision-of.js";

/** Every double there is, NaN and both zeros among them. */
const doubles = fc.double();
const signals = fc.record({ tail: doubles, quality: doubles, latencyMs: doubles }).map((some) => ({ ...signalsOfTest, ...some }));
const candidates: fc.Arbitrary<Candidate> = fc
  .record({
    mcpId: fc.string({ unit: "grapheme" }),
    score: doubles,
    propensity: doubles,
    rho: doubles,
    factors: fc.array(fc.record({ name: fc.string(), contribution: doubles }), { maxLength: 3 }),
    signals: fc.option(signals, { nil: undefined }),
    excludedBecause: fc.option(fc.constant("hot"), { nil: undefined }),
  })
  .map((some) => candidateOf(some));

describe("the record of a decision", () => {
  it("comes back from its row as it was, to the last bit of every number, whatever JSON makes of it on the way", () => {
    fc.assert(
      fc.property(
        fc.option(fc.array(candidates, { maxLength: 4 }), { nil: undefined }),
        fc.array(fc.string()),
        doubles,
        (some, exclude, propensity) => {
          const decision = decisionOf({
            request: { ...decisionOf().request, exclude: new Set(exclude), deadlineMs: 12.5 },
            shadow: [{ policyId: "p", mcpId: "m", propensity }],
          });
          const record = recordOf(decision, contextOfTest, some, 0.1);
          const row = rowOf(record);
          const { features, candidates, shadow } = row;
          const travelled = JSON.parse(JSON.stringify({ features, candidates, shadow }));
          expect(recordOfRow({ ...row, ...travelled })).toEqual(record);
        },
      ),
    );
  });

  it("keeps the difference between 0 and -0, which decides no sum but must not be invented", () => {
    const record = recordOf(decisionOf(), contextOfTest, [candidateOf({ rho: -0 })], 1);
    const [candidate] = recordOfRow(JSON.parse(JSON.stringify(rowOf(record)))).candidates ?? [];
    expect(Object.is(candidate?.rho, -0)).toBe(true);
  });

  it("is the choice only, where no candidates are kept", () => {
    const row = rowOf(recordOf(decisionOf(), contextOfTest, undefined, 0.1));
    expect(row.candidates).toBeUndefined();
    expect(recordOfRow(row).candidates).toBeUndefined();
  });
});
