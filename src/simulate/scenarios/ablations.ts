import { normalWorkOf, poisson, steady } from "../arrivals.js";
import { contenderNamed } from "../contenders.js";
import { type Figures, measured } from "../figures.js";
import { meanOf } from "../judging.js";
import type { RunLog } from "../run-log.js";
import { type Judgement, type Results, type Scenario, worldCell } from "../scenario.js";
import { pairedDifference } from "../statistics.js";
import { equalServers, plainVerdict, plainWorld, type World } from "../world.js";
import { antagonistWorld } from "./antagonists.js";
import { slowServerWorld } from "./slow-server.js";

const ours = "P13-ours";
const slow = "one of 11 turns slow";
const contended = "20 servers with neighbours, 90 %";
const unequal = "answers of five of ten are worth less";
const lengthMs = 80_000;

/** Ten equal servers whose answers are worth 0.9, or 0.6 at the first five; an independent judge says so of every tenth. */
function unequalWorld(horizonMs: number): World {
  return {
    ...plainWorld,
    servers: equalServers(10, { cores: 4, capacity: 100 }),
    measureFromMs: 20_000,
    arrivals: steady(poisson(100), normalWorkOf(80), horizonMs),
    answering: (server, arrival) => {
      const quality = server < 5 ? 0.6 : 0.9;
      return { ...plainVerdict, quality, trueQuality: quality, auditedQuality: arrival.item % 10 === 0 ? quality : undefined };
    },
  };
}

function partFigures(log: RunLog): Figures {
  const outcomes = measured(log);
  const answered = outcomes.filter(({ result }) => result === "ok");
  return {
    overASecond: outcomes.filter((one) => one.result !== "ok" || one.endedAtMs - one.arrival.atMs > 1_000).length,
    quality: answered.reduce((sum, { trueQuality }) => sum + (trueQuality ?? Number.NaN), 0) / answered.length,
  };
}

/** Whether the whole rule is better, in the mean over seeds, than the one without a part; `better` says in which direction. */
function worth(results: Results, cell: string, other: string, figure: string, better: "less" | "more", digits: number): Judgement {
  const own = meanOf(results, cell, ours, figure);
  const without = meanOf(results, cell, other, figure);
  const { mean, halfWidth } = pairedDifference(results.values(cell, ours, figure), results.values(cell, other, figure));
  return {
    measured: `${own.toFixed(digits)} with, ${without.toFixed(digits)} without, difference ${mean.toFixed(digits)} ± ${halfWidth.toFixed(digits)}`,
    isMet: better === "less" ? own < without : own > without,
  };
}

/** What each part of the rule is worth: the rule without it. */
export const ablations: Scenario = {
  id: "S22",
  name: "ablations",
  question: "What is each part of our rule worth?",
  setting:
    "The rule with one part switched off: the age of open requests (P13a), quality (P13b), late answers (P13c), the set of ties (P13d), the count of recent assignments (P13e). First the slow server of S1, then " +
    "the neighbours of S2 at 90 %, then ten equal servers of which five give answers worth 0.6 in place of 0.9 (all report it, a tenth is audited). What a part is worth is claimed where it is meant to help.",
  contenders: [ours, "P13a-no-open-age", "P13b-no-quality", "P13c-no-tail", "P13d-no-tie-set", "P13e-no-recent"],
  cells: [
    worldCell(slow, contenderNamed, slowServerWorld, partFigures),
    worldCell(contended, contenderNamed, (material) => antagonistWorld(20, 0.9, 60_000 * material.scale), partFigures),
    worldCell(unequal, contenderNamed, (material) => unequalWorld(20_000 + lengthMs * material.scale), partFigures),
  ],
  columns: [
    { figure: "overASecond", heading: "> 1 s", digits: 1 },
    { figure: "p99Ms", heading: "p99 ms", digits: 0 },
    { figure: "p999Ms", heading: "p99.9 ms", digits: 0 },
    { figure: "quality", heading: "quality", digits: 3 },
  ],
  chartFigure: "p99Ms",
  claims: [
    {
      text: "with the age of open requests fewer take longer than a second when a server turns slow",
      judge: (results) => worth(results, slow, "P13a-no-open-age", "overASecond", "less", 1),
    },
    {
      text: "with quality answers are worth more where servers differ",
      judge: (results) => worth(results, unequal, "P13b-no-quality", "quality", "more", 3),
    },
    {
      text: "with late answers p99 is less where neighbours take cores",
      judge: (results) => worth(results, contended, "P13c-no-tail", "p99Ms", "less", 1),
    },
    {
      text: "with the set of ties p99 is less where neighbours take cores",
      judge: (results) => worth(results, contended, "P13d-no-tie-set", "p99Ms", "less", 1),
    },
  ],
};
