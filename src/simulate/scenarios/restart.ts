import { normalWorkOf, poisson, steady } from "../arrivals.js";
import { contenderNamed } from "../contenders.js";
import { type Figures, latencyOf, measured } from "../figures.js";
import type { RunLog } from "../run-log.js";
import { type Judgement, type Results, type Scenario, worldCell } from "../scenario.js";
import { estimate, pairedDifference } from "../statistics.js";
import { antagonist, equalServers, plainVerdict, plainWorld, type World } from "../world.js";

const uninterrupted = "P13-ours";
const restarted = "P13r-restarted";
const forgetful = "P13f-restarted-empty";
const cell = "20 servers, some slower or worse";
const restartMs = 60_000;
const horizonMs = 130_000;
/** What an answer as slow as the deadline costs beside a point of quality: the weights of our rule. */
const latencyWeight = 0.2;
const bestQuality = 0.9;

/** Twenty servers: every fourth needs three times as long, every fifth gives answers worth 0.6 in place of 0.9, all have neighbours. There is something to know. */
function restartWorld(): World {
  const servers = equalServers(20, { cores: 4, capacity: 100 }, (index) => ({ contention: antagonist(index, 20, horizonMs) }));
  return {
    ...plainWorld,
    servers,
    measureFromMs: restartMs,
    arrivals: steady(poisson(200), normalWorkOf(80), horizonMs),
    answering: (server, arrival) => {
      const quality = server % 5 === 0 ? 0.6 : bestQuality;
      const auditedQuality = arrival.item % 10 === 0 ? quality : undefined;
      return { ...plainVerdict, workFactor: server % 4 === 0 ? 3 : 1, quality, trueQuality: quality, auditedQuality };
    },
  };
}

/** Over the minute after the restart: how much less each request was worth than at a good server with nothing else to do, in points. */
function regretFigures(log: RunLog): Figures {
  const after = measured(log, restartMs, restartMs + 60_000);
  const regret = after.map((one) => {
    const lateMs = Math.min(log.deadlineMs, latencyOf(one, log.deadlineMs)) - one.arrival.workMs;
    return bestQuality - (one.trueQuality ?? 0) + (latencyWeight * lateMs) / log.deadlineMs;
  });
  return { regretPoints: (100 * regret.reduce((sum, value) => sum + value, 0)) / after.length };
}

function judgeRegret(results: Results): Judgement {
  const regret = (contender: string) => results.values(cell, contender, "regretPoints");
  const [whole, again, empty] = [uninterrupted, restarted, forgetful].map((contender) => estimate(regret(contender)).mean);
  const share = (mean: number | undefined): number => (mean ?? Number.NaN) / (whole ?? Number.NaN) - 1;
  const { mean, halfWidth } = pairedDifference(regret(restarted), regret(uninterrupted));
  return {
    measured:
      `${(100 * share(again)).toFixed(1)} % extra (difference ${mean.toFixed(3)} ± ${halfWidth.toFixed(3)} points); ` +
      `${(100 * share(empty)).toFixed(1)} % with an empty memory`,
    isMet: share(again) <= 0.05,
  };
}

export const restart: Scenario = {
  id: "S20",
  name: "restart",
  question: "The coordinator is killed and comes back: what does that cost in the minute after?",
  setting:
    "20 servers of four cores with the neighbours of S2, 200 requests a second; every fourth server needs three times as long, every fifth gives worse answers (0.6 in place of 0.9, a tenth audited). At t = 60 s a new " +
    "router takes over with the memory that the old one wrote ten seconds before, as text; streams are back at once and tell how many requests they have open. The regret of a request is 0.9 − quality + 0.2 × " +
    "(latency − work) / 5 s: what it lost against a good server with nothing else to do.",
  contenders: [uninterrupted, restarted, forgetful, "P5-least-requests"],
  cells: [worldCell(cell, contenderNamed, restartWorld, regretFigures)],
  columns: [
    { figure: "regretPoints", heading: "regret in the minute after, points", digits: 3 },
    { figure: "p99Ms", heading: "p99 ms", digits: 0 },
  ],
  claims: [{ text: "at most 5 % more regret in the first 60 s than without the restart", judge: judgeRegret }],
};
