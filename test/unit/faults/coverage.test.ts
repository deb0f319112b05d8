import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import { beyondWire, missingOf, readSteps, wantedSteps, wantedVerdicts } from "../../faults/coverage.js";
import { cellsOfTable, decidedByNumbers, unreachable } from "../../simulation/coverage.js";

describe("the coverage of a run", () => {
  const all = new Map(wantedVerdicts.map((name) => [name, 1]));

  it("is whole when each verdict was met and each fault was injected or skipped aloud", () => {
    const rows = [
      { id: "F1", injected: 3 },
      { id: "F2", injected: 0, skipped: "no privileges" },
    ];
    expect(missingOf(all, rows, [{ id: "F1" }, { id: "F2" }])).toEqual([]);
  });

  it("leaves to the simulation only cells that the simulation must reach", () => {
    const reached = [...cellsOfTable().filter((cell) => !(cell in unreachable)), ...decidedByNumbers];
    expect(Object.keys(beyondWire).filter((cell) => !reached.includes(cell))).toEqual([]);
    expect(wantedSteps().length).toBe(reached.length - Object.keys(beyondWire).length);
  });

  it("adds up the steps of all processes, by cell and by what they came to", () => {
    const file = join(mkdtempSync(join(tmpdir(), "mcpc-steps-")), "steps");
    const lines = [
      ["live", "tick", "live", []],
      ["live", "tick", "closed", ["fail"]],
      ["live", "tick", "live", []],
    ];
    writeFileSync(file, lines.map((line) => `${JSON.stringify(line)}\n`).join(""));
    const steps = readSteps(file);
    rmSync(dirname(file), { recursive: true });
    expect(Object.fromEntries(steps)).toEqual({ "live × tick": 3, "live × tick → live": 2, "live × tick → closed: fail": 1 });
    expect(missingOf(steps, [], [], ["live × tick", "live × room"])).toEqual(["live × room was never met"]);
  });

  it("names each verdict and each fault that was never reached", () => {
    const verdicts = new Map([...all].filter(([name]) => name !== "FENCED"));
    expect(missingOf(verdicts, [{ id: "F1", injected: 0 }], [{ id: "F1" }])).toEqual(["FENCED was never met", "fault F1 was not injected"]);
  });
});
