import type { Row, ScenarioReport } from "./evaluation.js";
import type { Scenario } from "./scenario.js";

/** How an evaluation was made, for those who want to repeat it. */
export type EvaluationRun = {
  readonly command: string;
  readonly seeds: readonly number[];
  readonly scale: number;
  readonly minutes: number;
};

/** Scenarios that were run again after the others. */
export type RemadeRun = EvaluationRun & { readonly ids: readonly string[] };

/** The tables of docs/evaluation.md: all claims first, then every scenario with its figures. `remade`: what was run again since, whose reports stand in the place of those of `made`. Markdown. */
export function evaluationTables(
  reports: readonly ScenarioReport[],
  scenarios: readonly Scenario[],
  made: EvaluationRun,
  remade: readonly RemadeRun[] = [],
): string {
  const claims = reports.flatMap((report) =>
    report.claims.map((claim) => `| ${report.id} | ${claim.text} | ${claim.measured} | ${claim.isMet ? "met" : "**MISSED**"} |`),
  );
  const met = reports.flatMap((report) => report.claims).filter((claim) => claim.isMet).length;
  return [
    `Made by ${told(made)}. ${met} of ${claims.length} targets are met.`,
    "",
    ...remade.flatMap((run) => [`Made again since then: ${run.ids.join(", ")}, by ${told(run)}.`, ""]),
    "| scenario | target | measured | |",
    "| -------- | ------ | -------- | --- |",
    ...claims,
    "",
    ...reports.flatMap((report) => {
      const scenario = scenarios.find((one) => one.id === report.id);
      return scenario === undefined ? [] : sectionOf(report, scenario);
    }),
  ].join("\n");
}

function told({ command, seeds, scale, minutes }: EvaluationRun): string {
  const shortened = scale === 1 ? "" : `, lengths × ${scale}`;
  return `\`${command}\`: ${seeds.length} seeds (${seeds[0]} to ${seeds.at(-1)})${shortened}, ${minutes.toFixed(0)} minutes`;
}

/** An evaluation as it is kept. */
export type Evaluation = EvaluationRun & { readonly reports: readonly ScenarioReport[]; readonly remade?: readonly RemadeRun[] };

/** `kept` with what was run again in the place of what it had of these scenarios; what nothing of is left of an earlier run is not named any more. */
export function withRemade(kept: Evaluation, made: EvaluationRun, reports: readonly ScenarioReport[]): Evaluation {
  const ids = reports.map(({ id }) => id);
  const earlier = (kept.remade ?? []).map((run) => ({ ...run, ids: run.ids.filter((id) => !ids.includes(id)) }));
  return {
    ...kept,
    reports: kept.reports.map((report) => reports.find(({ id }) => id === report.id) ?? report),
    remade: [...earlier.filter((run) => run.ids.length > 0), { ...made, ids }],
  };
}

function sectionOf(report: ScenarioReport, scenario: Scenario): readonly string[] {
  return [
    `### ${scenario.id} ${scenario.name}`,
    "",
    scenario.question,
    "",
    scenario.setting,
    "",
    `![${scenario.name}](evaluation/${scenario.name}.svg)`,
    "",
    ...scenario.cells.flatMap((cell) => [
      `**${cell.name}**`,
      "",
      `| policy | ${scenario.columns.map((column) => column.heading).join(" | ")} |`,
      `| --- | ${scenario.columns.map(() => "---:").join(" | ")} |`,
      ...report.rows.filter((row) => row.cell === cell.name).map((row) => lineOf(row, scenario)),
      "",
    ]),
  ];
}

function lineOf(row: Row, scenario: Scenario): string {
  const values = scenario.columns.map(({ figure, digits }) => {
    const summary = row.figures[figure];
    // JSON has no NaN: in a report that was kept it is null.
    if (summary === undefined || !Number.isFinite(summary.estimate.mean)) return "–";
    const { mean, halfWidth } = summary.estimate;
    return Number.isFinite(halfWidth) ? `${mean.toFixed(digits)} ± ${halfWidth.toFixed(digits)}` : mean.toFixed(digits);
  });
  return `| ${row.contender} | ${values.join(" | ")} |`;
}

export const beginMarker = "<!-- evaluation: begin, written by make evaluate -->";
export const endMarker = "<!-- evaluation: end -->";

/** `page` with what stands between the markers replaced. Errors: throws when a marker is missing. */
export function placeBetweenMarkers(page: string, tables: string): string {
  const begin = page.indexOf(beginMarker);
  const end = page.indexOf(endMarker);
  if (begin < 0 || end < begin) throw new Error("the page has no markers for the tables");
  return `${page.slice(0, begin + beginMarker.length)}\n\n${tables}\n${page.slice(end)}`;
}
