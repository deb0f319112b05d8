import { contenderNamed } from "../contenders.js";
import { judgeRatio } from "../judging.js";
import { type Material, type Results, type Scenario, worldCell } from "../scenario.js";
import { antagonistWorld } from "./antagonists.js";

const ours = "P13x-ours-exchanging";
const alone = "P13-ours";
const load = 0.9;
const counts = [2, 3, 4];
const nameOf = (count: number): string => `${count} coordinators`;

/** S2 balanced by several coordinators, of which each decides its share of the requests. */
export const severalCoordinators: Scenario = {
  id: "S23",
  name: "several-coordinators",
  question:
    "The neighbours of S2, balanced by several coordinators that each see a share of the requests: what does it cost that they know of each other a second late?",
  setting:
    "The 20 servers of S2 at 90 % of the knee. Each request comes to one of 2 to 4 coordinators by chance. Ours hold the streams of an equal share of the servers each, hear only their events, and tell each other in digests " +
    `once a second, which are a second old when they are read; rendering, reading and merging is the code of production. ${alone} is the same router without digests, which sees all streams and only what it decides itself; so do ` +
    "the baselines, but for Prequal's probes.",
  contenders: [ours, alone, "P5-least-requests", "P6-two-choices", "P9-prequal"],
  cells: counts.map((count) =>
    worldCell(nameOf(count), contenderNamed, ({ scale }: Material) => antagonistWorld(20, load, 60_000 * scale, count)),
  ),
  columns: [
    { figure: "p50Ms", heading: "p50 ms", digits: 0 },
    { figure: "p90Ms", heading: "p90 ms", digits: 0 },
    { figure: "p99Ms", heading: "p99 ms", digits: 0 },
    { figure: "inFlightP99", heading: "in flight p99", digits: 0 },
    { figure: "failedShare", heading: "failed", digits: 4 },
  ],
  chartFigure: "p99Ms",
  claims: counts.flatMap((count) => {
    const at = { cell: nameOf(count), figure: "p99Ms", contender: ours };
    return [
      {
        text: `${nameOf(count)}: p99 at most 1.05 × Prequal with as many clients`,
        judge: (results: Results) => judgeRatio(results, { ...at, other: "P9-prequal" }, { atMost: 1.05 }),
      },
      {
        text: `${nameOf(count)}: p99 at most that of the same router without digests`,
        judge: (results: Results) => judgeRatio(results, { ...at, other: alone }, { atMost: 1 }),
      },
    ];
  }),
};
