import type { Figures } from "./figures.js";
import type { Claim, Judgement, Material, Results, Scenario } from "./scenario.js";
import { type Estimate, estimate, pairedDifference } from "./statistics.js";

/** One run that is to be made. */
export type RunTask = { readonly scenario: string; readonly cell: string; readonly contender: string; readonly seed: number };

/** One run that was made. */
export type RunResult = RunTask & { readonly figures: Figures };

/** A figure over all seeds, and how far it is from that of the contender that the scenario is about. */
export type Summary = { readonly estimate: Estimate; readonly againstFirst: Estimate };

/** Everything about one contender in one cell. */
export type Row = {
  readonly cell: string;
  readonly contender: string;
  readonly figures: Readonly<Record<string, Summary>>;
};

/** What became of one scenario. */
export type ScenarioReport = {
  readonly id: string;
  readonly name: string;
  readonly seeds: readonly number[];
  readonly rows: readonly Row[];
  readonly claims: readonly (Judgement & { readonly text: string })[];
};

/** Every run of these scenarios, seed by seed, so that an evaluation that is cut short has something of everything. */
export function plan(scenarios: readonly Scenario[], seeds: readonly number[]): readonly RunTask[] {
  return seeds.flatMap((seed) =>
    scenarios.flatMap((scenario) =>
      scenario.cells.flatMap((cell) =>
        scenario.contenders.map((contender) => ({ scenario: scenario.id, cell: cell.name, contender, seed })),
      ),
    ),
  );
}

/** Makes one run. Errors: throws for a task that names what is not there. */
export function run(task: RunTask, scenarios: readonly Scenario[], material: Material): RunResult {
  const cell = scenarios.find((scenario) => scenario.id === task.scenario)?.cells.find((one) => one.name === task.cell);
  if (cell === undefined) throw new Error(`no cell "${task.cell}" in scenario ${task.scenario}`);
  return { ...task, figures: cell.run(task.contender, task.seed, material) };
}

/** Figures and judgements of one scenario, from its runs in any order. */
export function report(scenario: Scenario, runs: readonly RunResult[]): ScenarioReport {
  const own = runs.filter((one) => one.scenario === scenario.id).toSorted((a, b) => a.seed - b.seed);
  const results = resultsOf(scenario.id, own);
  const first = scenario.contenders[0] ?? "";
  const rows = scenario.cells.flatMap((cell) =>
    scenario.contenders.map((contender): Row => {
      const of = own.filter((one) => one.cell === cell.name && one.contender === contender);
      const names = [...new Set(of.flatMap((one) => Object.keys(one.figures)))].sort();
      const figures = names.map((name) => {
        const values = results.values(cell.name, contender, name);
        return [
          name,
          { estimate: estimate(values), againstFirst: pairedDifference(values, results.values(cell.name, first, name)) },
        ] as const;
      });
      return { cell: cell.name, contender, figures: Object.fromEntries(figures) };
    }),
  );
  return {
    id: scenario.id,
    name: scenario.name,
    seeds: [...new Set(own.map((one) => one.seed))],
    rows,
    claims: scenario.claims.map((claim) => judged(claim, results)),
  };
}

/** Figures by cell, contender and name. */
export function resultsOf(scenario: string, runs: readonly RunResult[]): Results {
  return {
    scenario,
    values: (cell, contender, figure) =>
      runs.filter((one) => one.cell === cell && one.contender === contender).map((one) => one.figures[figure] ?? Number.NaN),
  };
}

function judged(claim: Claim, results: Results): Judgement & { readonly text: string } {
  return { text: claim.text, ...claim.judge(results) };
}
