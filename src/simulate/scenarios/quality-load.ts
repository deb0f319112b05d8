import { plainRequest } from "../../smart-router/request.js";
import { normalWorkOf, poisson, steady } from "../arrivals.js";
import { contenderNamed } from "../contenders.js";
import type { Contender } from "../dispatch.js";
import { type Figures, measured } from "../figures.js";
import { both, tell } from "../judging.js";
import type { RunLog } from "../run-log.js";
import { type Cell, type Judgement, type Results, type Scenario, worldCell } from "../scenario.js";
import { estimate, pairedDifference } from "../statistics.js";
import { utilityOf, utilityOracle, type Worth } from "../utility-oracle.js";
import { antagonist, equalServers, plainVerdict, plainWorld, type ServerSpec, type World } from "../world.js";

const ours = "P13-ours";
const warmUpMs = 30_000;
const lengthMs = 120_000;
const workMs = 80;
/** What an answer is worth: its quality, less half when it takes longer than a second, less a fifth in proportion to its latency up to then. The weights of our rule. */
const worth: Worth = { dueMs: 1_000, lateWeight: 0.5, latencyWeight: 0.2 };

/** One MCP: what its answers are worth, how many times the work a request is for it, and its cores. */
type Grade = { readonly quality: number; readonly workFactor: number; readonly cores: number };

/** A fleet in which quality and load pull in different directions. */
type Conflict = { readonly name: string; readonly grades: readonly Grade[]; readonly perSecond: number; readonly hasNeighbours: boolean };

const plain: Grade = { quality: 0.7, workFactor: 1, cores: 4 };
const of = (count: number, grade: Grade): readonly Grade[] => Array.from({ length: count }, () => grade);

const conflicts: readonly Conflict[] = [
  {
    name: "the best two are slow",
    grades: [...of(2, { quality: 0.95, workFactor: 3, cores: 4 }), ...of(6, plain)],
    perSecond: 130,
    hasNeighbours: false,
  },
  {
    name: "the best two are hot",
    grades: [...of(2, { quality: 0.95, workFactor: 1, cores: 1 }), ...of(6, plain)],
    perSecond: 130,
    hasNeighbours: true,
  },
  {
    name: "the better, the slower",
    grades: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10].map((rank) => ({
      quality: 0.95 - 0.035 * (rank - 1),
      workFactor: 4 - 0.33 * (rank - 1),
      cores: 4,
    })),
    perSecond: 130,
    hasNeighbours: true,
  },
];

/** Everybody reports the quality of its answers, rightly; a tenth is audited. */
function conflictWorld({ grades, perSecond, hasNeighbours }: Conflict, horizonMs: number): World {
  const contentionOf = (index: number): Partial<ServerSpec> =>
    hasNeighbours ? { contention: antagonist(index, grades.length, horizonMs + 10_000) } : {};
  return {
    ...plainWorld,
    servers: equalServers(grades.length, { capacity: 32 }, (index) => ({ cores: grades[index]?.cores ?? 1, ...contentionOf(index) })),
    measureFromMs: warmUpMs,
    arrivals: steady(poisson(perSecond), normalWorkOf(workMs), horizonMs, { ...plainRequest, deadlineMs: worth.dueMs }),
    answering: (server, { item }) => {
      const { quality, workFactor } = grades[server] ?? plain;
      return { ...plainVerdict, workFactor, quality, trueQuality: quality, auditedQuality: item % 10 === 0 ? quality : undefined };
    },
  };
}

const qualityAt = ({ grades }: Conflict, server: number): number => grades[server]?.quality ?? 0;

function contenderAt(conflict: Conflict): (id: string) => Contender {
  return (id) => (id === "P0-oracle" ? utilityOracle((server) => conflict.grades[server] ?? plain, worth) : contenderNamed(id));
}

function worthFigures(log: RunLog, conflict: Conflict): Figures {
  const outcomes = measured(log);
  const mean = (value: (one: (typeof outcomes)[number]) => number): number =>
    outcomes.reduce((sum, one) => sum + value(one), 0) / outcomes.length;
  return {
    quality: mean(({ trueQuality }) => trueQuality ?? 0),
    utility: mean((one) => utilityOf(one.trueQuality ?? 0, one.result === "ok" ? one.endedAtMs - one.arrival.atMs : log.deadlineMs, worth)),
    bestPercent: 100 * mean(({ server }) => (qualityAt(conflict, server) > 0.9 ? 1 : 0)),
  };
}

function cellOf(conflict: Conflict): Cell {
  return worldCell(
    conflict.name,
    contenderAt(conflict),
    ({ scale }) => conflictWorld(conflict, warmUpMs + lengthMs * scale),
    (log) => worthFigures(log, conflict),
  );
}

/** Whether ours is greater, in the mean over seeds. */
function judgeMore(results: Results, cell: string, figure: string, other: string): Judgement {
  const [own, others] = [results.values(cell, ours, figure), results.values(cell, other, figure)];
  const { mean, halfWidth } = pairedDifference(own, others);
  return { measured: `${tell(own, 3)}, ${mean.toFixed(3)} ± ${halfWidth.toFixed(3)} more than ${other}`, isMet: mean > 0 };
}

/** Whether the p99 of ours is less, in the mean over seeds; two that both run into the deadline are equal. */
function judgeLess(results: Results, cell: string, other: string): Judgement {
  const [own, others] = [results.values(cell, ours, "p99Ms"), results.values(cell, other, "p99Ms")];
  const { mean, halfWidth } = pairedDifference(own, others);
  return { measured: `${tell(own, 0)} ms, ${(-mean).toFixed(0)} ± ${halfWidth.toFixed(0)} less than ${other}`, isMet: mean < 0 };
}

function judgeUtility(results: Results, cell: string): Judgement {
  const [own, best] = [results.values(cell, ours, "utility"), results.values(cell, "P0-oracle", "utility")];
  const share = own.map((value, index) => (100 * value) / (best[index] ?? Number.NaN));
  return { measured: `${tell(share, 1)} %`, isMet: estimate(share).mean >= 95 };
}

export const qualityLoad: Scenario = {
  id: "S8",
  name: "quality-load",
  question: "The MCPs with the best answers are slow, or full: who finds the best of both?",
  setting:
    "130 requests a second for 120 s after 30 s of warm-up, work Normal(80 ms, σ = 80 ms) cut off at 0. First two of eight MCPs give answers worth 0.95 in place of 0.7 and need three times the time; then these two have one core " +
    "in place of four, and all have the neighbours of S2; then ten MCPs whose quality falls from 0.95 to 0.63 as their speed grows fourfold, with neighbours. The best alone cannot bear the load in any of them. All report their quality, a tenth is " +
    "audited. The utility of an answer is its quality, less 0.5 when it takes longer than a second, less 0.2 in proportion to its latency up to a second. P0 sees the quality, the work and all that every server has " +
    "before it, and takes the server where its own utility less what it takes from those already there is greatest; it does not know what arrives later, and so can be surpassed.",
  contenders: [
    ours,
    "P5-least-requests",
    "P9-prequal",
    "P9t-prequal-tuned",
    "P11-routing-sampling",
    "P12-d-lin-ucb",
    "P13b-no-quality",
    "P0-oracle",
  ],
  cells: conflicts.map(cellOf),
  columns: [
    { figure: "utility", heading: "utility", digits: 3 },
    { figure: "quality", heading: "quality", digits: 3 },
    { figure: "p50Ms", heading: "p50 ms", digits: 0 },
    { figure: "p99Ms", heading: "p99 ms", digits: 0 },
    { figure: "bestPercent", heading: "to the best two, %", digits: 1 },
    { figure: "failedShare", heading: "failed", digits: 4 },
  ],
  chartFigure: "utility",
  claims: conflicts.flatMap(({ name }) => [
    {
      text: `${name}: more quality than Prequal, with the paper's parameters and with the best that we found`,
      judge: (results: Results) =>
        both(judgeMore(results, name, "quality", "P9-prequal"), judgeMore(results, name, "quality", "P9t-prequal-tuned")),
    },
    {
      text: `${name}: p99 less than that of routing_sampling and of D-LinUCB`,
      judge: (results: Results) => both(judgeLess(results, name, "P11-routing-sampling"), judgeLess(results, name, "P12-d-lin-ucb")),
    },
    { text: `${name}: at least 95 % of the oracle's utility`, judge: (results: Results) => judgeUtility(results, name) },
  ]),
};
