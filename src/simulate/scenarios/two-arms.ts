import { createDiscountedLinUcb, discountedLinUcbDefaults } from "../../smart-router/baselines/discounted-lin-ucb.js";
import { createRoutingSampling, routingSamplingDefaults } from "../../smart-router/baselines/routing-sampling.js";
import { contenderNamed } from "../contenders.js";
import { type Contender, policyContender } from "../dispatch.js";
import { simulate } from "../engine.js";
import { commonFigures, type Figures } from "../figures.js";
import { generateHinted, gsm8k, type Hint, routerArena, type TwoArmCounts } from "../hinted-questions.js";
import { meanOf, tell } from "../judging.js";
import { type ArmServer, armServers, questionOracle, questionWorld, strongPrice, weakPrice } from "../question-world.js";
import { bestMix, type Question, questionArrivals, ratesByTopic } from "../questions.js";
import { routerContender } from "../router-contender.js";
import type { RunLog } from "../run-log.js";
import type { Cell, Judgement, Results, Scenario } from "../scenario.js";

const ours = "P13-ours";
/** Never shortened: a quarter of the questions is there to learn from, and a quarter of fewer does not teach as much. */
const requestCount = 20_000;
const learningCount = 5_000;
/** What the target allows: so much of what the strong arm costs, and so many points less than it. */
const costShareMax = 0.8;
const pointsLostMax = 0.5;
const servers: readonly ArmServer[] = armServers(2, 2);

/** Two questions, one of which only the strong arm answers rightly, are told apart with probability Φ(1 / √2) = 0.76. */
const informed: Hint = { separation: 1, bands: 10 };
const blind: Hint = { separation: 0, bands: 1 };

/** One data set with what is known of its questions, and what the price of the strong arm counts for ours and for D-LinUCB; routing_sampling has no such setting. */
type Setting = {
  readonly name: string;
  readonly counts: TwoArmCounts;
  readonly hint: Hint;
  readonly rulePriceWeight: number;
  readonly ucbPriceWeight: number;
};

const settings: readonly Setting[] = [
  { name: "GSM8K, with a hint", counts: gsm8k, hint: informed, rulePriceWeight: 0.06, ucbPriceWeight: 0.06 },
  { name: "RouterArena, with a hint", counts: routerArena, hint: informed, rulePriceWeight: 0.025, ucbPriceWeight: 0.03 },
  { name: "GSM8K, nothing known", counts: gsm8k, hint: blind, rulePriceWeight: 0.06, ucbPriceWeight: 0.06 },
  { name: "RouterArena, nothing known", counts: routerArena, hint: blind, rulePriceWeight: 0.06, ucbPriceWeight: 0.06 },
];

function contenderAt(setting: Setting, pool: readonly Question[]): (id: string) => Contender {
  const prices = new Map(servers.map(({ mcpId, kind }) => [mcpId, kind === "strong" ? strongPrice : weakPrice]));
  return (id) => {
    switch (id) {
      case ours:
        return routerContender(id, { rule: { costWeight: setting.rulePriceWeight } });
      case "P11-routing-sampling":
        return policyContender(id, () => createRoutingSampling({ ...routingSamplingDefaults, prices }));
      case "P12-d-lin-ucb":
        return policyContender(id, () =>
          createDiscountedLinUcb({ ...discountedLinUcbDefaults, optimism: 1, prices, priceWeight: setting.ucbPriceWeight }),
        );
      case "P0-oracle":
        return questionOracle(pool, servers);
      default:
        return contenderNamed(id);
    }
  };
}

/** What was right and what it cost after the first `learningCount` requests, beside the strong arm alone on the same questions. */
export function armFigures(log: RunLog, pool: readonly Question[]): Figures {
  const later = log.outcomes.filter(({ index, server }) => index >= learningCount && server >= 0);
  const percentOf = (count: number): number => (100 * count) / later.length;
  const accuracy = percentOf(later.reduce((sum, one) => sum + (one.trueQuality ?? 0), 0));
  const strongAlone = percentOf(later.filter(({ arrival }) => pool[arrival.item]?.strong === true).length);
  const cost = later.reduce((sum, one) => sum + (one.cost ?? 0), 0) / later.length;
  const shareAllowed = (costShareMax * strongPrice - weakPrice) / (strongPrice - weakPrice);
  const rates = ratesByTopic(pool);
  return {
    accuracyPercent: accuracy,
    strongAlonePercent: strongAlone,
    pointsLost: strongAlone - accuracy,
    costPercent: (100 * cost) / strongPrice,
    strongPercent: percentOf(later.filter(({ server }) => servers[server]?.kind === "strong").length),
    /** The least that anybody can lose who knows the rates of each topic and keeps to the cost. */
    leastLost: 100 * (bestMix(rates, 1) - bestMix(rates, shareAllowed)),
  };
}

function cellOf(setting: Setting): Cell {
  return {
    name: setting.name,
    run: (contender, seed) => {
      const pool = generateHinted(setting.counts, setting.hint, 1);
      const arrivals = questionArrivals(pool, requestCount, 20, () => 100);
      const log = simulate(questionWorld(pool, servers, arrivals), contenderAt(setting, pool)(contender), seed);
      return { ...commonFigures(log), ...armFigures(log, pool) };
    },
  };
}

function judge(results: Results, cell: string): Judgement {
  const lost = results.values(cell, ours, "pointsLost");
  const cost = results.values(cell, ours, "costPercent");
  return {
    measured: `${tell(lost, 2)} points less at ${tell(cost, 1)} % of its cost; knowing the rates of each type, ${meanOf(results, cell, ours, "leastLost").toFixed(2)} less at 80 %`,
    isMet: meanOf(results, cell, ours, "pointsLost") <= pointsLostMax && meanOf(results, cell, ours, "costPercent") <= 100 * costShareMax,
  };
}

export const twoArms: Scenario = {
  id: "S7",
  name: "two-arms",
  question: "A weak and cheap kind of MCP and a strong and dear one: can a router be as good as the strong one and cost less?",
  setting:
    "20 000 questions with the statistics of GSM8K (63.8 and 85.7 % right, 92.9 % by either) and of RouterArena (51.8, 69.1, 74.2), made by a generator because the outcomes are not at hand; two weak MCPs (an answer costs " +
    "0.05) and two strong ones (1); each answer is graded. What callers know of a question comes as its request type: ten bands of a hint that tells a question that only the strong one answers from another one with " +
    "probability 0.76, or nothing at all. Counted after the first 5 000 requests; points lost are against the strong arm on the same questions. The least loss is that of somebody who knows the rates of each type at 80 % of the cost.",
  contenders: [ours, "P6-two-choices", "P9-prequal", "P11-routing-sampling", "P12-d-lin-ucb", "P0-oracle"],
  cells: settings.map(cellOf),
  columns: [
    { figure: "accuracyPercent", heading: "% right", digits: 2 },
    { figure: "pointsLost", heading: "points lost", digits: 2 },
    { figure: "leastLost", heading: "least loss", digits: 2 },
    { figure: "costPercent", heading: "cost, %", digits: 1 },
    { figure: "strongPercent", heading: "% strong", digits: 1 },
  ],
  claims: settings.map(({ name }) => ({
    text: `${name}: at most ${pointsLostMax} points less than the strong arm alone, at most 80 % of its cost`,
    judge: (results) => judge(results, name),
  })),
};
