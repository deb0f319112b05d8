import { createDiscountedLinUcb, discountedLinUcbDefaults } from "../../smart-router/baselines/discounted-lin-ucb.js";
import { createRoutingSampling, routingSamplingDefaults } from "../../smart-router/baselines/routing-sampling.js";
import { contenderNamed } from "../contenders.js";
import { type Contender, policyContender } from "../dispatch.js";
import { simulate } from "../engine.js";
import { commonFigures, type Figures } from "../figures.js";
import { meanOf, tell } from "../judging.js";
import { mmluQuestions } from "../mmlu.js";
import { type ArmServer, armServers, questionOracle, questionWorld, strongPrice, weakPrice } from "../question-world.js";
import { bestMix, type Question, questionArrivals, randomMix, ratesByTopic } from "../questions.js";
import { routerContender } from "../router-contender.js";
import type { RunLog } from "../run-log.js";
import type { Cell, Judgement, Results, Scenario } from "../scenario.js";

/** Never shortened: what comes after a shortened run would not be learned, but not yet learned. */
const requestCount = 20_000;
const learningCount = 5_000;
const serverCount = 4;

/** A budget: the share of strong answers that it pays for, and what makes each learner keep to it. */
type Budget = {
  readonly name: string;
  /** Of four MCPs. */
  readonly strongServers: number;
  readonly strongShare: number;
  /** What the strong arm must be better by to be worth its price, for ours and for D-LinUCB. Picked by hand to come near the share; routing_sampling has no such setting. */
  readonly rulePriceWeight: number;
  readonly ucbPriceWeight: number;
};

const budgets: readonly Budget[] = [
  { name: "25 % strong", strongServers: 1, strongShare: 0.25, rulePriceWeight: 0.12, ucbPriceWeight: 0.16 },
  { name: "50 % strong", strongServers: 2, strongShare: 0.5, rulePriceWeight: 0.1, ucbPriceWeight: 0.11 },
  { name: "75 % strong", strongServers: 3, strongShare: 0.75, rulePriceWeight: 0.1, ucbPriceWeight: 0.07 },
];

function servers(budget: Budget): readonly ArmServer[] {
  return armServers(serverCount - budget.strongServers, budget.strongServers);
}

function contenderAt(budget: Budget, pool: readonly Question[]): (id: string) => Contender {
  const prices = new Map(servers(budget).map(({ mcpId, kind }) => [mcpId, kind === "strong" ? strongPrice : weakPrice]));
  return (id) => {
    switch (id) {
      case "P13-ours":
        return routerContender(id, { rule: { costWeight: budget.rulePriceWeight } });
      case "P11-routing-sampling":
        return policyContender(id, () => createRoutingSampling({ ...routingSamplingDefaults, prices }));
      case "P12-d-lin-ucb":
        return policyContender(id, () =>
          createDiscountedLinUcb({ ...discountedLinUcbDefaults, prices, priceWeight: budget.ucbPriceWeight }),
        );
      case "P0-oracle":
        return questionOracle(pool, servers(budget));
      default:
        return contenderNamed(id);
    }
  };
}

/** Accuracy after the first `learningCount` requests, and how it lies between chance and the best order of topics at the share of strong answers that was used. */
export function mixFigures(log: RunLog, pool: readonly Question[], who: readonly ArmServer[]): Figures {
  const rates = ratesByTopic(pool);
  const later = log.outcomes.filter(({ index, server }) => index >= learningCount && server >= 0);
  const isStrong = (server: number): boolean => who[server]?.kind === "strong";
  const strongShare = later.filter(({ server }) => isStrong(server)).length / later.length;
  const accuracy = later.reduce((sum, one) => sum + (one.trueQuality ?? 0), 0) / later.length;
  const byTopic = later.reduce((sum, { arrival, server }) => {
    const own = rates.get(arrival.domain);
    return sum + (own === undefined ? 0 : isStrong(server) ? own.strong : own.weak);
  }, 0);
  const [chance, best] = [randomMix(rates, strongShare), bestMix(rates, strongShare)];
  return {
    strongPercent: 100 * strongShare,
    accuracyPercent: 100 * accuracy,
    chancePercent: 100 * chance,
    bestPercent: 100 * best,
    // With one arm alone there is nothing between chance and best.
    gainedPercent: best - chance < 1e-6 ? 0 : (100 * (byTopic / later.length - chance)) / (best - chance),
  };
}

function cellOf(budget: Budget): Cell {
  return {
    name: budget.name,
    run: (contender, seed, material) => {
      const pool = mmluQuestions(material);
      const arrivals = questionArrivals(pool, requestCount, 20, () => 100);
      const log = simulate(questionWorld(pool, servers(budget), arrivals), contenderAt(budget, pool)(contender), seed);
      return { ...commonFigures(log), ...mixFigures(log, pool, servers(budget)) };
    },
  };
}

function judgeGain(results: Results, cell: string): Judgement {
  const gained = results.values(cell, "P13-ours", "gainedPercent");
  const share = meanOf(results, cell, "P13-ours", "strongPercent");
  const accuracy = meanOf(results, cell, "P13-ours", "accuracyPercent");
  const measured = `${tell(gained, 0)} % of the way, ${accuracy.toFixed(1)} % right with ${share.toFixed(0)} % strong`;
  return { measured, isMet: meanOf(results, cell, "P13-ours", "gainedPercent") >= 70 && Math.abs(share - Number.parseInt(cell, 10)) <= 5 };
}

export const qualityMix: Scenario = {
  id: "S6",
  name: "quality-mix",
  question:
    "Two kinds of MCP answer the questions of MMLU, one better and dearer: how well does a router learn which topics are worth the price?",
  setting:
    "20 000 questions of MMLU, 57 topics as request types, answered as Mixtral-8x7B (68.1 % right, costs 0.05) and GPT-4 (80.6 %, costs 1) did; each answer is graded. " +
    "Four MCPs, one, two or three of them strong; latency is equal and does not depend on load. The price weight of ours and of D-LinUCB is picked by hand to come near that share of strong answers. " +
    "Counted after the first 5 000 requests. Chance and the best order of topics are computed at the share that each router really used; the gain lies between them (0 and 100 %).",
  contenders: ["P13-ours", "P6-two-choices", "P9-prequal", "P11-routing-sampling", "P12-d-lin-ucb", "P0-oracle"],
  cells: budgets.map(cellOf),
  columns: [
    { figure: "strongPercent", heading: "% strong", digits: 1 },
    { figure: "accuracyPercent", heading: "% right", digits: 2 },
    { figure: "chancePercent", heading: "by chance", digits: 2 },
    { figure: "bestPercent", heading: "best by topic", digits: 2 },
    { figure: "gainedPercent", heading: "gain, %", digits: 0 },
  ],
  claims: budgets.map(({ name }) => ({
    text: `${name}: after 5 000 requests at least 70 % of the way from chance to the best order of topics, at that share ± 5`,
    judge: (results) => judgeGain(results, name),
  })),
};
