import { plainChoice } from "../../smart-router/baselines/propensity.js";
import type { Decision } from "../../smart-router/decision.js";
import { estimate, type Sample } from "../../smart-router/evaluate/estimate.js";
import { evaluateLog } from "../../smart-router/evaluate/evaluate-log.js";
import { always, mixed, staticWeights, uniform } from "../../smart-router/evaluate/evaluated-policies.js";
import type { EvaluatedPolicy, LoggedDecision } from "../../smart-router/evaluate/logged-decision.js";
import { policyContender } from "../dispatch.js";
import { simulate } from "../engine.js";
import { commonFigures, type Figures } from "../figures.js";
import { meanOf } from "../judging.js";
import { mmluQuestions } from "../mmlu.js";
import { armServers, questionWorld } from "../question-world.js";
import { type Question, questionArrivals, ratesByTopic } from "../questions.js";
import { routerContender } from "../router-contender.js";
import type { Outcome } from "../run-log.js";
import type { Cell, Judgement, Results, Scenario } from "../scenario.js";
import type { World } from "../world.js";

const requestCount = 20_000;
const servers = armServers(2, 2);
/** Long after the last outcome: none is early. */
const readAtMs = 100_000_000;

/** Strong answers for the topics in which they help by more than ten points: what somebody may have concluded from a test set. */
function byTopic(pool: readonly Question[]): EvaluatedPolicy {
  const rates = ratesByTopic(pool);
  return {
    id: "by-topic",
    shares: ({ requestType }) => {
      const own = rates.get(requestType);
      return new Map([[own !== undefined && own.strong - own.weak > 0.1 ? "mcp-002" : "mcp-000", 1]]);
    },
  };
}

function evaluatedOn(pool: readonly Question[]): readonly EvaluatedPolicy[] {
  const tilted = new Map(servers.map(({ mcpId }, index) => [mcpId, index + 1]));
  return [uniform(), always("mcp-003"), staticWeights("static:1-2-3-4", tilted), byTopic(pool), mixed(uniform(), byTopic(pool), 0.2)];
}

/** What the decision log would hold of a run of ours. One coordinator decides, nothing is refused: decisions and outcomes come in the same order. */
function logOf(
  world: World,
  seed: number,
): { readonly rows: readonly LoggedDecision[]; readonly outcomes: readonly Outcome[]; readonly figures: Figures } {
  const decisions: Omit<LoggedDecision, "outcome">[] = [];
  const contender = routerContender("P13-ours", {}, (router) => router.onDecision((decision) => decisions.push(rowOf(decision))));
  const log = simulate(world, contender, seed);
  const rows = log.outcomes.flatMap((outcome): readonly LoggedDecision[] => {
    const decision = decisions[outcome.index];
    if (decision === undefined) return [];
    const observedMs = outcome.endedAtMs - outcome.arrival.atMs;
    const result =
      outcome.result === "ok"
        ? ({ kind: "complete", quality: outcome.quality, isAudited: false, cost: outcome.cost, observedMs } as const)
        : ({ kind: "error", cost: outcome.cost, observedMs } as const);
    return [{ ...decision, outcome: result }];
  });
  return { rows, outcomes: log.outcomes, figures: commonFigures(log) };
}

function rowOf(decision: Decision): Omit<LoggedDecision, "outcome"> {
  const { decisionId, atMonoMs, policyId, request, requestClass, chosen, propensity, regime, isOpeEligible, shadow } = decision;
  const candidates = decision.candidates();
  return {
    decisionId,
    atMs: atMonoMs,
    policyId,
    requestType: request.requestType,
    requestClass,
    chosen,
    propensity,
    regime,
    isOpeEligible,
    candidates,
    keptShare: 1,
    shadow,
  };
}

/** Exactly what a policy would have achieved on these requests: every arm's answer to every question is known. */
function trueValue(
  policy: EvaluatedPolicy,
  rows: readonly LoggedDecision[],
  outcomes: readonly Outcome[],
  pool: readonly Question[],
): number {
  let sum = 0;
  for (const [index, row] of rows.entries()) {
    const question = pool[outcomes[index]?.arrival.item ?? -1];
    for (const [mcpId, share] of policy.shares(row) ?? []) {
      const kind = servers.find((server) => server.mcpId === mcpId)?.kind;
      if (kind !== undefined && question?.[kind] === true) sum += share;
    }
  }
  return sum / rows.length;
}

const qualityCell: Cell = {
  name: "quality of five policies",
  run: (_contender, seed, material) => {
    const pool = mmluQuestions(material);
    const arrivals = questionArrivals(pool, requestCount, 20, () => 100);
    const { rows, outcomes, figures } = logOf(questionWorld(pool, servers, arrivals), seed);
    // Uniform and static weights over everybody, and not over those who could have been drawn: their true value must not depend on who logged.
    const policies = evaluatedOn(pool).map(
      (policy): EvaluatedPolicy => ({
        id: policy.id,
        shares: (row) =>
          policy.shares({ ...row, candidates: row.candidates.map((candidate) => ({ ...candidate, propensity: 1 / servers.length })) }),
      }),
    );
    const { policies: evaluations, counts } = evaluateLog(rows, policies, { nowMs: readAtMs });
    let [snipsError, drError, covered, coverage, ess] = [0, 0, 0, 1, Number.POSITIVE_INFINITY];
    for (const [index, { quality, coverage: own }] of evaluations.entries()) {
      const policy = policies[index];
      if (policy === undefined || quality.estimates?.snips === undefined) continue;
      const truth = trueValue(policy, rows, outcomes, pool);
      const { snips, dr } = quality.estimates;
      snipsError = Math.max(snipsError, Math.abs(snips.value - truth));
      drError = Math.max(drError, Math.abs(dr.value - truth));
      covered += dr.low <= truth && truth <= dr.high ? 1 / evaluations.length : 0;
      coverage = Math.min(coverage, own);
      ess = Math.min(ess, quality.estimates.ess);
    }
    const usablePercent = (100 * counts.usable) / counts.given;
    return {
      ...figures,
      snipsErrorPoints: 100 * snipsError,
      drErrorPoints: 100 * drError,
      coveredPercent: 100 * covered,
      leastCoverage: coverage,
      leastEss: ess,
      usablePercent,
    };
  },
};

/** Latency that depends on load: two cores each, half loaded when all share; one MCP alone cannot serve everything. */
const latencyCell: Cell = {
  name: "latency, which cannot be told",
  run: (_contender, seed, material) => {
    const pool = mmluQuestions(material);
    const world = questionWorld(
      pool,
      servers,
      questionArrivals(pool, requestCount / 4, 30, () => 100),
      undefined,
      { cores: 2, capacity: 50 },
    );
    const { rows, outcomes, figures } = logOf(world, seed);
    const samples = rows.flatMap((row, index): readonly Sample[] => {
      const outcome = outcomes[index];
      if (!row.isOpeEligible || outcome === undefined) return [];
      const reward = outcome.endedAtMs - outcome.arrival.atMs;
      return [{ ratio: row.chosen === "mcp-003" ? 1 / row.propensity : 0, reward, expected: 0, predicted: 0, multiplicity: 1 }];
    });
    const only = policyContender("only", () => ({
      id: "only/1",
      choose: () => plainChoice("mcp-003", 1),
      assigned: () => {},
      ended: () => {},
      tick: () => {},
    }));
    const truth = commonFigures(simulate(world, only, seed))["meanMs"] ?? Number.NaN;
    const told = estimate(samples)?.snips;
    return {
      ...figures,
      toldMs: told?.value ?? Number.NaN,
      trueMs: truth,
      factor: truth / (told?.value ?? Number.NaN),
      isCovered: told !== undefined && told.low <= truth && truth <= told.high ? 1 : 0,
    };
  },
};

function judgeQuality(results: Results): Judgement {
  const of = (figure: string): number => meanOf(results, qualityCell.name, "P13-ours", figure);
  const worst = Math.min(of("snipsErrorPoints"), of("drErrorPoints"));
  return {
    measured: `worst of five: DR ${of("drErrorPoints").toFixed(2)}, SNIPS ${of("snipsErrorPoints").toFixed(2)} points; ${of("coveredPercent").toFixed(0)} % of DR's intervals hold the truth; ESS ≥ ${of("leastEss").toFixed(0)}`,
    isMet: worst <= 1 && of("coveredPercent") >= 90,
  };
}

export const offPolicy: Scenario = {
  id: "S18",
  name: "off-policy",
  question: "Can the log of our own decisions tell what other policies would have achieved?",
  setting:
    "20 000 graded questions of MMLU, four MCPs, decided and logged by ours with exact probabilities; five policies are evaluated from the log. The truth is exact: every arm's answer to every question is known. " +
    "The second setting does what evaluateLog refuses: it reweights latencies, for a policy that sends everything to one MCP, and compares with running that policy.",
  contenders: ["P13-ours"],
  cells: [qualityCell, latencyCell],
  columns: [
    { figure: "drErrorPoints", heading: "DR error, pt", digits: 2 },
    { figure: "snipsErrorPoints", heading: "SNIPS error, pt", digits: 2 },
    { figure: "coveredPercent", heading: "intervals that hold, %", digits: 0 },
    { figure: "leastEss", heading: "least ESS", digits: 0 },
    { figure: "leastCoverage", heading: "least coverage", digits: 3 },
    { figure: "usablePercent", heading: "usable rows, %", digits: 1 },
    { figure: "toldMs", heading: "latency told, ms", digits: 0 },
    { figure: "trueMs", heading: "true, ms", digits: 0 },
  ],
  claims: [
    {
      text: "quality: DR or SNIPS within 1 point for the worst of five policies, at least 90 % of DR's 95 % intervals hold the truth",
      judge: judgeQuality,
    },
    {
      text: "latency: the estimate from the log is wrong by at least a factor of two, and its interval does not hold the truth",
      judge: (results) => {
        const factor = meanOf(results, latencyCell.name, "P13-ours", "factor");
        return {
          measured: `true mean is ${factor.toFixed(1)} times the estimate`,
          isMet: factor >= 2 && meanOf(results, latencyCell.name, "P13-ours", "isCovered") === 0,
        };
      },
    },
  ],
};
