import { normalWorkOf, poisson, steady } from "../arrivals.js";
import { contenderNamed } from "../contenders.js";
import { normalWorkMean } from "../draws.js";
import { both, judgeRatio } from "../judging.js";
import { type Cell, type Material, type Results, type Scenario, worldCell } from "../scenario.js";
import { antagonist, equalServers, plainWorld, type World } from "../world.js";

const warmUpMs = 20_000;
const workMs = 80;
const cores = 4;
/**
 * Load at which random choice loses its footing (p50 above four times that of an idle fleet), as a share of what the servers could do without antagonists. A
 * unit test repeats it; loads of this scenario are parts of it, as in the replication it follows.
 */
export const kneeShare = 0.57;

/** `count` equal servers of four cores, 60 % of each taken by a neighbour half of the time, at `load` of the knee, for `measureMs` after the warm-up. */
export function antagonistWorld(count: number, load: number, measureMs: number, coordinators = 1): World {
  const horizonMs = warmUpMs + measureMs;
  const servers = equalServers(count, { cores, capacity: 100 }, (index) => ({ contention: antagonist(index, count, horizonMs + 10_000) }));
  const perSecond = (count * cores * 1_000 * kneeShare * load) / (workMs * normalWorkMean);
  return {
    ...plainWorld,
    servers,
    measureFromMs: warmUpMs,
    coordinators,
    arrivals: steady(poisson(perSecond), normalWorkOf(workMs), horizonMs),
  };
}

const cellAt = (count: number, load: number, seconds: number): Cell =>
  worldCell(nameOf(count, load), contenderNamed, (material: Material) => antagonistWorld(count, load, seconds * 1_000 * material.scale));
const nameOf = (count: number, load: number): string => `${count} servers, ${Math.round(load * 100)} %`;

const ours = "P13-ours";
const sizes = [20, 100];

export const antagonists: Scenario = {
  id: "S2",
  name: "antagonists",
  question: "Neighbours take 60 % of each machine half of the time: how long do requests take?",
  setting:
    "20 and 100 equal servers of four cores under processor sharing; work Normal(80 ms, σ = 80 ms) cut off at 0; a square wave takes 60 % of each machine for 10 of every " +
    `20 s, each at its own phase. Poisson arrivals at 70 and 90 % of the knee: ${kneeShare} of what the machines could do alone, where random choice reaches four times the ` +
    "idle p50. 20 s of warm-up are not counted. One coordinator decides; the replication that this follows measured 90 %: WRR 277, round robin 258, two choices 130, Prequal 93 ms at p99.",
  contenders: [
    ours,
    "P1-random",
    "P2-round-robin",
    "P3-static-weights",
    "P4-a58-weights",
    "P5-least-requests",
    "P6-two-choices",
    "P7-peak-ewma",
    "P8-c3",
    "P9-prequal",
    "P9t-prequal-tuned",
    "P0-oracle",
  ],
  cells: [cellAt(20, 0.7, 60), cellAt(20, 0.9, 60), cellAt(100, 0.7, 30), cellAt(100, 0.9, 30)],
  columns: [
    { figure: "p50Ms", heading: "p50 ms", digits: 0 },
    { figure: "p90Ms", heading: "p90 ms", digits: 0 },
    { figure: "p99Ms", heading: "p99 ms", digits: 0 },
    { figure: "p999Ms", heading: "p99.9 ms", digits: 0 },
    { figure: "inFlightP99", heading: "in flight p99", digits: 0 },
    { figure: "failedShare", heading: "failed", digits: 4 },
  ],
  chartFigure: "p99Ms",
  claims: sizes.flatMap((count) => [
    ...[0.7, 0.9].map((load) => ({
      text: `${nameOf(count, load)}: p99 at most 1.05 × Prequal, with the paper's parameters and with the best that we found`,
      judge: (results: Results) => {
        const at = { cell: nameOf(count, load), figure: "p99Ms", contender: ours };
        return both(
          judgeRatio(results, { ...at, other: "P9-prequal" }, { atMost: 1.05 }),
          judgeRatio(results, { ...at, other: "P9t-prequal-tuned" }, { atMost: 1.05 }),
        );
      },
    })),
    {
      text: `${nameOf(count, 0.9)}: p99 of weighted round robin at least 3.0 ×, of two choices at least 1.3 × ours`,
      judge: (results: Results) => {
        const at = { cell: nameOf(count, 0.9), figure: "p99Ms", contender: ours };
        return both(
          judgeRatio(results, { ...at, other: "P4-a58-weights" }, { atLeast: 3 }),
          judgeRatio(results, { ...at, other: "P6-two-choices" }, { atLeast: 1.3 }),
        );
      },
    },
  ]),
};
