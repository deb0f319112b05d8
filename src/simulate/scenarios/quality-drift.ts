import { contenderNamed } from "../contenders.js";
import { simulate } from "../engine.js";
import { commonFigures, type Figures } from "../figures.js";
import { both, judgeRatio, meanOf, tell } from "../judging.js";
import { armServers, questionWorld } from "../question-world.js";
import { generateQuestions, type Question, questionArrivals, ratesByTopic, type TopicCounts } from "../questions.js";
import type { RunLog } from "../run-log.js";
import type { Cell, Judgement, Results, Scenario } from "../scenario.js";
import { plainVerdict, type World } from "../world.js";

const requestCount = 12_000;
const perSecond = 20;
const turnMs = (requestCount / 2 / perSecond) * 1_000;
/** Requests over which the quality after the turn is averaged. */
const windowCount = 50;
const servers = armServers(2, 2);

/** Four topics of 1 000 questions: the strong arm is right in 85 %, the weak one in 55 %. */
const topics: readonly TopicCounts[] = ["contracts", "invoices", "letters", "receipts"].map((topic) => ({
  topic,
  questions: 1_000,
  weak: 550,
  strong: 850,
  both: 500,
  chars: 1_000,
}));

function qualityWorld(pool: readonly Question[]): World {
  return questionWorld(
    pool,
    servers,
    questionArrivals(pool, requestCount, perSecond, () => 100),
    (server, atMs) => {
      const isStrong = servers[server]?.kind === "strong";
      return isStrong === atMs < turnMs ? "strong" : "weak";
    },
  );
}

/** All equally good; the first half of the MCPs takes ten times as long from the turn on. */
function latencyWorld(pool: readonly Question[]): World {
  const world = qualityWorld(pool);
  return {
    ...world,
    servers: world.servers.map((spec, index) => ({ ...spec, faults: index < 2 ? [slowFromTurn] : [] })),
    answering: () => ({ ...plainVerdict, quality: 0.8, trueQuality: 0.8, auditedQuality: 0.8 }),
  };
}

const slowFromTurn = { kind: "slow", fromMs: turnMs, untilMs: Number.POSITIVE_INFINITY, share: 1, factor: 10 } as const;

/** Requests from the turn until, over the next `windowCount`, at least 90 % of what an oracle achieves is achieved; all of them when that never happens. */
export function recoveredAfter(values: readonly number[], best: number): number {
  let sum = 0;
  for (const [index, value] of values.entries()) {
    sum += value - (values[index - windowCount] ?? 0);
    if (index >= windowCount - 1 && sum / windowCount >= 0.9 * best) return index - windowCount + 1;
  }
  return values.length;
}

function qualityFigures(log: RunLog, pool: readonly Question[]): Figures {
  const rates = ratesByTopic(pool);
  const after = log.outcomes.filter(({ arrival }) => arrival.atMs >= turnMs);
  // What was to be expected of the arm that was chosen, not what chance made of it.
  const expected = after.map(({ arrival, server }) => {
    const own = rates.get(arrival.domain);
    return (servers[server]?.kind === "strong" ? own?.weak : own?.strong) ?? 0;
  });
  const best = 0.85;
  const regret = log.outcomes.reduce((sum, { arrival, server }) => {
    const isGood = (servers[server]?.kind === "strong") === arrival.atMs < turnMs;
    return sum + (isGood ? 0 : best - 0.55);
  }, 0);
  return { recoveredAfter: recoveredAfter(expected, best), regret };
}

function latencyFigures(log: RunLog): Figures {
  const after = log.outcomes.filter(({ arrival }) => arrival.atMs >= turnMs);
  const isFast = after.map(({ server }) => (server >= 2 ? 1 : 0));
  return {
    recoveredAfter: recoveredAfter(isFast, 1),
    regret: log.outcomes.filter(({ server, arrival }) => server < 2 && arrival.atMs >= turnMs).length,
  };
}

function cellOf(
  name: string,
  world: (pool: readonly Question[]) => World,
  figures: (log: RunLog, pool: readonly Question[]) => Figures,
): Cell {
  return {
    name,
    run: (contender, seed) => {
      const pool = generateQuestions(topics, 1);
      const log = simulate(world(pool), contenderNamed(contender), seed);
      return { ...commonFigures(log), ...figures(log, pool) };
    },
  };
}

const swapped = "quality swapped";
const slowed = "latency step";

function judgeRecovery(results: Results, cell: string): Judgement {
  return {
    measured: `after ${tell(results.values(cell, "P13-ours", "recoveredAfter"), 0)} requests`,
    isMet: meanOf(results, cell, "P13-ours", "recoveredAfter") <= 300,
  };
}

export const qualityDrift: Scenario = {
  id: "S9",
  name: "quality-drift",
  question: "Half-way through, the good MCPs become the bad ones: how many requests until a router has noticed?",
  setting:
    "12 000 graded questions in four topics, 20 a second, two MCPs that are right in 85 % and two in 55 %; at 300 s they change places. Recovered: 50 requests in a row with at least 90 % of the best " +
    "expected quality. In the second setting all are equally good, and two become ten times slower. Regret: expected quality lost against always knowing the best; in the second setting, requests to slow ones.",
  contenders: ["P13-ours", "P9-prequal", "P11-routing-sampling", "P12-d-lin-ucb"],
  cells: [cellOf(swapped, qualityWorld, qualityFigures), cellOf(slowed, latencyWorld, latencyFigures)],
  columns: [
    { figure: "recoveredAfter", heading: "recovered after", digits: 0 },
    { figure: "regret", heading: "regret", digits: 0 },
    { figure: "p99Ms", heading: "p99 ms", digits: 0 },
  ],
  claims: [
    {
      text: "quality: recovered within 300 requests, regret at most that of D-LinUCB",
      judge: (results) =>
        both(
          judgeRecovery(results, swapped),
          judgeRatio(results, { cell: swapped, figure: "regret", contender: "P13-ours", other: "P12-d-lin-ucb" }, { atMost: 1 }),
        ),
    },
    { text: "latency: recovered within 300 requests", judge: (results) => judgeRecovery(results, slowed) },
  ],
};
