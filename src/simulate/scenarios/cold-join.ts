import { normalWorkOf, poisson, steady } from "../arrivals.js";
import { contenderNamed } from "../contenders.js";
import { type Figures, measured, sortedLatencies } from "../figures.js";
import { both, bound, judgeBound } from "../judging.js";
import type { RunLog } from "../run-log.js";
import { type Scenario, worldCell } from "../scenario.js";
import { quantile } from "../statistics.js";
import { equalServers, plainWorld, type World } from "../world.js";

const joinsAtMs = 30_000;
const horizonMs = 100_000;
const windowMs = 5_000;
const cell = "9 warm, one joins";
const ours = "P13-ours";
const fairShare = 0.1;

function joinWorld(): World {
  const servers = equalServers(10, { cores: 4, capacity: 100 }, (index) => (index === 9 ? { joinsAtMs } : {}));
  return { ...plainWorld, servers, measureFromMs: 10_000, arrivals: steady(poisson(200), normalWorkOf(80), horizonMs) };
}

/** Share of the newcomer over its fair share, among requests from `fromMs` to `untilMs`. */
function shareOfFair(log: RunLog, fromMs: number, untilMs: number): number {
  const outcomes = measured(log, fromMs, untilMs);
  return outcomes.filter((one) => one.server === 9).length / outcomes.length / fairShare;
}

function joinFigures(log: RunLog): Figures {
  const windows = Array.from({ length: 6 }, (_, index) =>
    shareOfFair(log, joinsAtMs + index * windowMs, joinsAtMs + (index + 1) * windowMs),
  );
  const joining = sortedLatencies(measured(log, joinsAtMs, joinsAtMs + 10_000), log.deadlineMs);
  return {
    firstShare: windows[0] ?? Number.NaN,
    greatestShare: windows.reduce((a, b) => Math.max(a, b)),
    steadyShare: shareOfFair(log, joinsAtMs + 30_000, horizonMs),
    joinP99Ms: quantile(joining, 0.99),
  };
}

/** Two standard deviations of the share that a window of 1000 requests shows of somebody who has exactly the fair one: above it is no accident. */
const noise = 2 * Math.sqrt((fairShare * (1 - fairShare)) / 1_000) * (1 / fairShare);

export const coldJoin: Scenario = {
  id: "S10",
  name: "cold-join",
  question: "A new server joins nine warm ones: does it get more than its share before anything is known of it?",
  setting:
    "Ten equal servers of four cores, 200 requests a second, the tenth joins at t = 30 s. Shares are over the fair tenth, in windows of 5 s, that is of 1000 requests: somebody with " +
    `exactly the fair share shows up to ${(1 + noise).toFixed(2)} in one window of twenty. Steady is from 30 s after the join on.`,
  contenders: [ours, "P4-a58-weights", "P5-least-requests", "P7-peak-ewma", "P9-prequal", "P10-litellm-latency"],
  cells: [worldCell(cell, contenderNamed, joinWorld, joinFigures)],
  columns: [
    { figure: "firstShare", heading: "first 5 s, of fair", digits: 2 },
    { figure: "greatestShare", heading: "greatest window in 30 s, of fair", digits: 2 },
    { figure: "steadyShare", heading: "after 30 s, of fair", digits: 2 },
    { figure: "joinP99Ms", heading: "p99 in the first 10 s, ms", digits: 0 },
  ],
  claims: [
    { text: "never more than the fair share in the first 5 s", judge: bound(cell, ours, "firstShare", { atMost: 1 }, 2, " of fair") },
    {
      text: "in no window of the first 30 s more than the fair share can show by accident",
      judge: bound(cell, ours, "greatestShare", { atMost: 1 + noise }, 2, " of fair"),
    },
    {
      text: "fair ± 10 % after 30 s",
      judge: (results) =>
        both(
          judgeBound(results, { cell, contender: ours, figure: "steadyShare" }, { atLeast: 0.9 }, { digits: 2, unit: " of fair" }),
          judgeBound(results, { cell, contender: ours, figure: "steadyShare" }, { atMost: 1.1 }, { digits: 2, unit: " of fair" }),
        ),
    },
  ],
};
