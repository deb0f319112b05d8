import { describe, expect, test } from "vitest";
import { barChart } from "../../../src/simulate/bar-chart.js";
import { contenderNamed, contenders } from "../../../src/simulate/contenders.js";
import { plan, report, run } from "../../../src/simulate/evaluation.js";
import { beginMarker, endMarker, evaluationTables, placeBetweenMarkers, withRemade } from "../../../src/simulate/evaluation-page.js";
import { clockSkew } from "../../../src/simulate/scenarios/clock-skew.js";
import { oscillation } from "../../../src/simulate/scenarios/oscillation.js";
import { slowServer } from "../../../src/simulate/scenarios/slow-server.js";
import { sparseBroken } from "../../../src/simulate/scenarios/sparse-broken.js";
import { scenariosWith } from "../../../src/simulate/scenarios.js";

/** The length of these tests is work, not waiting: two seconds of it on a machine that has nothing else to do. */
const longMs = 600_000;
const material = { text: () => undefined, monotonicMs: () => 0, scale: 1 };
const scenarios = scenariosWith(material);

describe("an evaluation", () => {
  test("every scenario names contenders that there are, and has a target", () => {
    const ids = new Set(contenders.map(({ id }) => id));
    for (const { contenders: named, claims, columns, cells } of scenarios) {
      expect(named.filter((id) => !ids.has(id))).toEqual([]);
      expect(claims.length).toBeGreaterThan(0);
      expect(columns.length).toBeGreaterThan(0);
      expect(new Set(cells.map((cell) => cell.name)).size).toBe(cells.length);
    }
    expect(new Set(scenarios.map(({ name }) => name)).size).toBe(scenarios.length);
    expect(contenderNamed("P9-prequal").id).toBe("P9-prequal");
  });

  test(
    "figures of one scenario become judgements, tables and a chart",
    () => {
      const own = { ...sparseBroken, contenders: ["P13-ours", "P2-round-robin"] };
      const runs = plan([own], [1, 2]).map((task) => run(task, [own], material));
      const told = report(own, runs.toReversed());
      expect(told.seeds).toEqual([1, 2]);
      const [ours, roundRobin] = told.rows;
      expect(ours?.figures.failures?.estimate.mean).toBeLessThan(7);
      expect(roundRobin?.figures.failures?.estimate.mean).toBeGreaterThan(90);
      expect(roundRobin?.figures.failures?.againstFirst.mean).toBeGreaterThan(80);
      expect(told.claims[0]?.isMet).toBe(true);
      const tables = evaluationTables([told], [own], { command: "make evaluate", seeds: [1, 2], scale: 1, minutes: 1 });
      const page = placeBetweenMarkers(`# Page\n${beginMarker}\nold\n${endMarker}\nafter`, tables);
      expect(page).toContain("| P13-ours |");
      expect(page).not.toContain("old");
      expect(page.endsWith("after")).toBe(true);
      expect(barChart(told, own)).toMatch(/^<svg [\s\S]*P2-round-robin[\s\S]*<\/svg>\n$/);
    },
    longMs,
  );

  test("scenarios that are run again take the place of what was kept of them, and it is said how they were made", () => {
    const madeBy = (command: string) => ({ command, seeds: [1], scale: 1, minutes: 1 });
    const [old, again] = [report(sparseBroken, []), report(slowServer, [])];
    const reportOf = (id: string, question: string) => ({ ...old, id, name: question });
    const kept = { ...madeBy("all"), reports: [reportOf("X1", "first"), reportOf("X2", "first"), again] };
    const once = withRemade(kept, madeBy("once"), [reportOf("X1", "once"), reportOf("X2", "once")]);
    const twice = withRemade(once, madeBy("twice"), [reportOf("X2", "twice")]);
    expect(twice.reports.map(({ id, name }) => [id, name])).toEqual([
      ["X1", "once"],
      ["X2", "twice"],
      [again.id, again.name],
    ]);
    expect(twice.remade?.map(({ command, ids }) => [command, ids])).toEqual([
      ["once", ["X1"]],
      ["twice", ["X2"]],
    ]);
    expect(withRemade(twice, madeBy("third"), [reportOf("X1", "third")]).remade?.map(({ command }) => command)).toEqual(["twice", "third"]);
    const tables = evaluationTables(twice.reports, [slowServer], twice, twice.remade);
    expect(tables).toContain("Made again since then: X2, by `twice`: 1 seeds");
  });

  test("a target without runs is missed", () => {
    expect(report(slowServer, []).claims.map((claim) => claim.isMet)).toEqual([false]);
  });

  test(
    "the experiment with the slow server gives what was published",
    () => {
      const own = { ...slowServer, contenders: ["P2-round-robin", "P5-least-requests", "P7-peak-ewma"] };
      const share = own.contenders.map((contender) => {
        const { figures } = run({ scenario: "S1", cell: own.cells[0]?.name ?? "", contender, seed: 4 }, [own], material);
        return figures.withinASecondPercent ?? 0;
      });
      // Published: about 95, 99 and 99.9 %.
      expect(share[0]).toBeCloseTo(95.5, 0);
      expect(share[1]).toBeGreaterThan(99);
      expect(share[1]).toBeLessThan(99.8);
      expect(share[2]).toBeGreaterThan(99.85);
    },
    longMs,
  );

  test(
    "wrong wall clocks change no decision",
    () => {
      const [wall] = clockSkew.cells;
      const figures = wall?.run("P13-ours", 7, { ...material, scale: 0.1 });
      expect(figures?.decisions).toBeGreaterThan(1_000);
      expect(figures?.different).toBe(0);
    },
    longMs,
  );

  test("a published weight goes to its new place without swinging, below the load that fills the MCP", () => {
    const own = { ...oscillation, cells: oscillation.cells.slice(0, 2), claims: oscillation.claims.slice(0, 2) };
    const told = report(
      own,
      plan([own], [7, 8, 9]).map((task) => run(task, [own], material)),
    );
    expect(told.claims.map((claim) => claim.isMet)).toEqual([true, true]);
    expect(told.rows[0]?.figures.toPercent?.estimate.mean).toBeLessThan(12);
  });
});
