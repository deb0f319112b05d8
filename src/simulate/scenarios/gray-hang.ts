import { normalWorkOf, poisson, steady } from "../arrivals.js";
import { contenderNamed } from "../contenders.js";
import { bound, judgeRatio } from "../judging.js";
import { type Scenario, worldCell } from "../scenario.js";
import { equalServers, plainWorld, type World } from "../world.js";

const ours = "P13-ours";
const everywhere = "all hang 3 %";
const oneOfTen = "one hangs 30 %";
/** The longest lease of a decision and some: after it nothing may be taken for being in flight. */
const drainMs = 660_000;

/** 10 servers; those for which `share` is above 0 never answer that part of their requests. */
function hangingWorld(share: (index: number) => number): World {
  const servers = equalServers(10, { cores: 4, capacity: 100 }, (index) => ({
    faults: share(index) === 0 ? [] : [{ kind: "hang", fromMs: 20_000, untilMs: Number.POSITIVE_INFINITY, share: share(index) }],
  }));
  return { ...plainWorld, servers, measureFromMs: 10_000, drainMs, arrivals: steady(poisson(100), normalWorkOf(80), 120_000) };
}

export const grayHang: Scenario = {
  id: "S5",
  name: "gray-hang",
  question: "3 % of all requests never get an answer: is anything taken for being in flight for ever, and is the culprit avoided?",
  setting:
    "10 servers of four cores, 100 requests a second for two minutes. First every server hangs 3 % of its requests from t = 20 s on, which nobody can avoid; then one server " +
    "hangs 30 % of its own, the same number under an equal split. A hanging server says nothing: only leases tell our coordinator, while the baselines are told by whoever gives up after " +
    "5 s. In-flight counts are read 11 minutes after the last request, when every lease has run out.",
  contenders: [ours, "P2-round-robin", "P5-least-requests", "P6-two-choices", "P7-peak-ewma", "P8-c3", "P9-prequal", "P10-litellm-latency"],
  cells: [
    worldCell(everywhere, contenderNamed, () => hangingWorld(() => 0.03)),
    worldCell(oneOfTen, contenderNamed, () => hangingWorld((index) => (index === 0 ? 0.3 : 0))),
  ],
  columns: [
    { figure: "leaked", heading: "still in flight", digits: 1 },
    { figure: "lateShare", heading: "never answered", digits: 4 },
    { figure: "p99Ms", heading: "p99 ms", digits: 0 },
    { figure: "p999Ms", heading: "p99.9 ms", digits: 0 },
  ],
  claims: [
    { text: "nothing in flight after the drain", judge: bound(everywhere, ours, "leaked", { atMost: 0 }, 1, "") },
    {
      text: "p99.9 at most that of Prequal, all hang",
      judge: (results) => judgeRatio(results, { cell: everywhere, figure: "p999Ms", contender: ours, other: "P9-prequal" }, { atMost: 1 }),
    },
    {
      text: "p99.9 at most that of Prequal, one hangs",
      judge: (results) => judgeRatio(results, { cell: oneOfTen, figure: "p999Ms", contender: ours, other: "P9-prequal" }, { atMost: 1 }),
    },
  ],
};
