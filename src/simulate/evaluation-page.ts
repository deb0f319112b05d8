import type { Row, ScenarioReport } from "./evaluation.js";
import type { Scenario } from "./scenario.js";

/** How an evaluation was made, for those who want to repeat it. */
export type EvaluationRun = {
  readonly command: string;
  readonly seeds: readonly number[];
  readonly scale: number;
  readonly minutes: number;
};

/** The tables of docs/evaluation.md: all claims first, then every scenario with its figures. Markdown. */
export function evaluationTables(reports: readonly ScenarioReport[], scenarios: readonly Scenario[], made: EvaluationRun): string {
  const claims = reports.flatMap((report) =>
    report.claims.map((claim) => `| ${report.id} | ${claim.text} | ${claim.measured} | ${claim.isMet ? "met" : "**MISSED**"} |`),
  );
  const met = reports.flatMap((report) => report.claims).filter((claim) => claim.isMet).length;
  const shortened = made.scale === 1 ? "" : `, lengths × ${made.scale}`;
  return [
    `Made by \`${made.command}\`: ${made.seeds.length} seeds (${made.seeds[0]} to ${made.seeds.at(-1)})${shortened}, ${made.minutes.toFixed(0)} minutes. ` +
      `${met} of ${claims.length} targets are met.`,
    "",
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
    if (summary === undefined || Number.isNaN(summary.estimate.mean)) return "–";
    const { mean, halfWidth } = summary.estimate;
    return Number.isNaN(halfWidth) ? mean.toFixed(digits) : `${mean.toFixed(digits)} ± ${halfWidth.toFixed(digits)}`;
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
