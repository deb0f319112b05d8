import { poisson, steady } from "../arrivals.js";
import { contenderNamed } from "../contenders.js";
import { normal } from "../draws.js";
import type { Figures } from "../figures.js";
import { measured } from "../figures.js";
import { both, judgeBound } from "../judging.js";
import type { RunLog } from "../run-log.js";
import { type Scenario, worldCell } from "../scenario.js";
import { equalServers, plainWorld, type World } from "../world.js";

const slowFromMs = 15_000;
const slowUntilMs = 45_000;
const horizonMs = 60_000;
const serverCount = 11;
const cell = "11 servers, 1000/s";

/** 11 servers that answer in 167 ± 5 ms whatever their load, but for the first: 2 s from t = 15 to 45 s. */
export function slowServerWorld(): World {
  const slow = { kind: "slow", fromMs: slowFromMs, untilMs: slowUntilMs, share: 1, factor: 2_000 / 167 } as const;
  const servers = equalServers(serverCount, { cores: Number.POSITIVE_INFINITY, capacity: 1_000 }, (index) =>
    index === 0 ? { faults: [slow] } : {},
  );
  return { ...plainWorld, servers, arrivals: steady(poisson(1_000), (rng) => Math.max(1, 167 + 5 * normal(rng)), horizonMs) };
}

function slowFigures(log: RunLog): Figures {
  const outcomes = measured(log);
  const slow = outcomes.filter((one) => one.result !== "ok" || one.endedAtMs - one.arrival.atMs > 1_000);
  // Noticed: the last request but the occasional one that went there; here, when the flow to it had fallen below a tenth of the fair share for 100 ms.
  let noticedMs = slowUntilMs - slowFromMs;
  for (let fromMs = slowFromMs; fromMs < slowUntilMs; fromMs += 20) {
    const there = outcomes.filter((one) => one.server === 0 && one.arrival.atMs >= fromMs && one.arrival.atMs < fromMs + 200).length;
    if (there > (0.1 * 200) / serverCount) continue;
    noticedMs = fromMs - slowFromMs;
    break;
  }
  return { overASecond: slow.length, withinASecondPercent: 100 * (1 - slow.length / outcomes.length), noticedMs };
}

export const slowServer: Scenario = {
  id: "S1",
  name: "slow-server",
  question: "One of eleven servers needs 2 s instead of 167 ms for half a minute: how many of 60 000 requests take longer than a second?",
  setting:
    "Linkerd's experiment of 2016: 11 servers, 1000 requests a second, 167 ± 5 ms, the first one 2 s from t = 15 s to 45 s of 60 s. Latency does not depend on load. " +
    "Published: round robin 95 %, least loaded 99 %, peak EWMA 99.9 % within a second. No warm-up: the experiment had none.",
  contenders: ["P13-ours", "P2-round-robin", "P5-least-requests", "P6-two-choices", "P7-peak-ewma", "P9-prequal", "P0-oracle"],
  cells: [worldCell(cell, contenderNamed, slowServerWorld, slowFigures)],
  columns: [
    { figure: "withinASecondPercent", heading: "% < 1 s", digits: 3 },
    { figure: "overASecond", heading: "> 1 s", digits: 1 },
    { figure: "noticedMs", heading: "noticed after, ms", digits: 0 },
    { figure: "p50Ms", heading: "p50 ms", digits: 0 },
    { figure: "p99Ms", heading: "p99 ms", digits: 0 },
    { figure: "p999Ms", heading: "p99.9 ms", digits: 0 },
  ],
  claims: [
    {
      text: "at least 99.95 % within a second (at most 30 of 60 000), noticed within 400 ms",
      judge: (results) =>
        both(
          judgeBound(
            results,
            { cell, contender: "P13-ours", figure: "withinASecondPercent" },
            { atLeast: 99.95 },
            { digits: 3, unit: " %" },
          ),
          judgeBound(results, { cell, contender: "P13-ours", figure: "noticedMs" }, { atMost: 400 }, { digits: 0, unit: " ms" }),
        ),
    },
  ],
};
