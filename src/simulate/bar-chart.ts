import type { ScenarioReport } from "./evaluation.js";
import type { Scenario } from "./scenario.js";

const width = 760;
const labelWidth = 190;
const valueWidth = 130;
const barHeight = 16;
const rowHeight = 22;
const panelHead = 30;
const titleHeight = 34;
/** From this ratio of the greatest to the least value on, lengths are logarithmic: the short bars would not be seen. */
const logRatio = 20;

type Bar = { readonly label: string; readonly mean: number; readonly halfWidth: number };

/** Bars with 95 % intervals of the scenario's chart figure, one panel per cell, the contender that the claims are about in a colour of its own. SVG text. */
export function barChart(report: ScenarioReport, scenario: Scenario): string {
  const figure = scenario.chartFigure ?? scenario.columns[0]?.figure ?? "";
  const column = scenario.columns.find((one) => one.figure === figure);
  const panels = scenario.cells.map((cell) => ({
    title: cell.name,
    bars: report.rows
      .filter((row) => row.cell === cell.name)
      .map((row): Bar => {
        const { mean, halfWidth } = row.figures[figure]?.estimate ?? { mean: Number.NaN, halfWidth: Number.NaN };
        return { label: row.contender, mean, halfWidth };
      }),
  }));
  const height = titleHeight + panels.reduce((sum, panel) => sum + panelHead + panel.bars.length * rowHeight, 0) + 10;
  let top = titleHeight;
  const drawn: string[] = [];
  for (const panel of panels) {
    drawn.push(
      text(10, top + 18, panel.title, "600 13px"),
      ...bars(panel.bars, top + panelHead, scenario.contenders[0] ?? "", column?.digits ?? 1),
    );
    top += panelHead + panel.bars.length * rowHeight;
  }
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img">`,
    `<title>${escaped(`${scenario.id} ${scenario.name}: ${column?.heading ?? figure}`)}</title>`,
    `<rect width="${width}" height="${height}" fill="#ffffff"/>`,
    text(10, 22, `${scenario.id} ${scenario.name}: ${column?.heading ?? figure}`, "600 15px"),
    ...drawn,
    "</svg>",
    "",
  ].join("\n");
}

function bars(list: readonly Bar[], top: number, ours: string, digits: number): readonly string[] {
  const lengthOf = scaleOf(list.map((bar) => bar.mean).filter((mean) => Number.isFinite(mean)));
  return list.flatMap((bar, index) => {
    const y = top + index * rowHeight;
    const label = text(10, y + barHeight - 4, bar.label, "12px");
    if (!Number.isFinite(bar.mean)) return [label, text(labelWidth + 4, y + barHeight - 4, "not run", "12px")];
    const length = lengthOf(bar.mean);
    const colour = bar.label === ours ? "#0b6e4f" : "#8fa3ad";
    const interval = Number.isFinite(bar.halfWidth) ? ` ± ${bar.halfWidth.toFixed(digits)}` : "";
    return [
      label,
      `<rect x="${labelWidth}" y="${y}" width="${length.toFixed(1)}" height="${barHeight}" fill="${colour}"/>`,
      ...whisker(bar, lengthOf, y + barHeight / 2),
      text(labelWidth + length + 8, y + barHeight - 4, `${bar.mean.toFixed(digits)}${interval}`, "12px"),
    ];
  });
}

function whisker({ mean, halfWidth }: Bar, lengthOf: (value: number) => number, y: number): readonly string[] {
  if (!(halfWidth > 0)) return [];
  const from = labelWidth + lengthOf(Math.max(0, mean - halfWidth));
  const to = labelWidth + lengthOf(mean + halfWidth);
  return [`<line x1="${from.toFixed(1)}" y1="${y}" x2="${to.toFixed(1)}" y2="${y}" stroke="#1b1b1b" stroke-width="1.5"/>`];
}

/** Length of a bar: in proportion, or by logarithm where the values are far apart. Bounded by the room there is. */
function scaleOf(values: readonly number[]): (value: number) => number {
  const room = width - labelWidth - valueWidth;
  const most = values.reduce((a, b) => Math.max(a, b), 0);
  const least = values.filter((value) => value > 0).reduce((a, b) => Math.min(a, b), most);
  const clamp = (share: number): number => room * Math.min(1.05, Math.max(0, share));
  if (most <= 0) return () => 0;
  if (most / least < logRatio) return (value) => clamp(value / most);
  const decades = Math.log(most / least) + 0.5;
  return (value) => (value <= 0 ? 0 : clamp((Math.log(value / least) + 0.5) / decades));
}

function text(x: number, y: number, content: string, font: string): string {
  return `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" style="font:${font} sans-serif" fill="#1b1b1b">${escaped(content)}</text>`;
}

function escaped(content: string): string {
  return content.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
