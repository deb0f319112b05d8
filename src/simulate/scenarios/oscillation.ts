import { type Rng, seededRng } from "../../platform/rng.js";
import { seedFor } from "../draws.js";
import type { Figures } from "../figures.js";
import { both, judgeBound } from "../judging.js";
import type { Cell, Scenario } from "../scenario.js";
import { type Loop, playLoop, signChanges, steadyUpdatesPerSecond, stepAtS, variationOf } from "../weight-loop.js";

const rule = "P13-ours";
const coordinators = 3;
const delayMaxS = 3;

function loopFigures(loop: Loop): Figures {
  const { weights, publishedAtS } = playLoop(loop);
  const after = weights.slice(stepAtS - 1);
  return {
    signChanges: signChanges(after),
    variation: variationOf(after),
    updatesPerSecond: steadyUpdatesPerSecond(publishedAtS),
    fromPercent: (after[0] ?? 0) / 100,
    toPercent: (after.at(-1) ?? 0) / 100,
  };
}

function loopCell(name: string, factor: number, loadFrom: number, loadTo: number): Cell {
  return {
    name,
    run: (_contender, seed) => {
      const rng: Rng = seededRng(seedFor(seed, `loop ${name}`));
      const load = loadFrom + rng() * (loadTo - loadFrom);
      const delays = Array.from({ length: coordinators }, () => Math.floor(rng() * (delayMaxS + 1)));
      return loopFigures({ factor, load, delays });
    },
  };
}

const cells: readonly Cell[] = [
  loopCell("capacity halves, load 0.2 to 0.4", 0.5, 0.2, 0.4),
  loopCell("capacity doubles, load 0.2 to 0.4", 2, 0.2, 0.4),
  loopCell("capacity halves, load 0.5 to 0.6", 0.5, 0.5, 0.6),
  loopCell("capacity doubles, load 0.5 to 0.6", 2, 0.5, 0.6),
];

export const oscillation: Scenario = {
  id: "S15",
  name: "oscillation",
  question: "The capacity of one MCP halves or doubles: does its published weight swing?",
  setting:
    "The rule, the smoothing and the publisher of the weight plane in a closed loop with six equal MCPs, a step a second: three coordinators follow tables and tell latencies 0 to 3 s late (drawn by seed), latency is " +
    "that of a processor-sharing queue under the share that the tables give. At t = 120 s of 300 the capacity of one changes. Variation is the way that its weight goes, over the step; steady is the minute before " +
    "the step and the last one. A load of 0.5 and more fills the MCP whose capacity halved, until its share is smaller.",
  contenders: [rule],
  cells,
  columns: [
    { figure: "signChanges", heading: "sign changes", digits: 1 },
    { figure: "variation", heading: "variation, of the step", digits: 2 },
    { figure: "updatesPerSecond", heading: "updates/s, steady", digits: 3 },
    { figure: "fromPercent", heading: "weight before, %", digits: 1 },
    { figure: "toPercent", heading: "after, %", digits: 1 },
  ],
  chartFigure: "variation",
  claims: cells.map(({ name }) => ({
    text: `${name}: at most one sign change, variation at most 1.2, at most 0.2 updates a second once steady`,
    judge: (results) => {
      const at = (figure: string, atMost: number, digits: number, unit: string) =>
        judgeBound(results, { cell: name, contender: rule, figure }, { atMost }, { digits, unit });
      return both(at("signChanges", 1, 1, ""), at("variation", 1.2, 2, " of the step"), at("updatesPerSecond", 0.2, 3, "/s"));
    },
  })),
};
