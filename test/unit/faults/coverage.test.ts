import { describe, expect, it } from "vitest";
import { missingOf, wantedVerdicts } from "../../faults/coverage.js";

describe("the coverage of a run", () => {
  const all = new Map(wantedVerdicts.map((name) => [name, 1]));

  it("is whole when each verdict was met and each fault was injected or skipped aloud", () => {
    const rows = [
      { id: "F1", injected: 3 },
      { id: "F2", injected: 0, skipped: "no privileges" },
    ];
    expect(missingOf(all, rows, [{ id: "F1" }, { id: "F2" }])).toEqual([]);
  });

  it("names each verdict and each fault that was never reached", () => {
    const verdicts = new Map([...all].filter(([name]) => name !== "FENCED"));
    expect(missingOf(verdicts, [{ id: "F1", injected: 0 }], [{ id: "F1" }])).toEqual(["FENCED was never met", "fault F1 was not injected"]);
  });
});
