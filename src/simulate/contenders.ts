import { assert } from "../platform/assert.js";
import { createA58Weights } from "../smart-router/baselines/a58-weights.js";
import { createC3 } from "../smart-router/baselines/c3.js";
import { createDiscountedLinUcb } from "../smart-router/baselines/discounted-lin-ucb.js";
import { createLeastRequests, createTwoChoices } from "../smart-router/baselines/least-requests.js";
import { createLiteLlmLatency } from "../smart-router/baselines/litellm-latency.js";
import { withOutlierDetection } from "../smart-router/baselines/outlier-detection.js";
import { createPeakEwma } from "../smart-router/baselines/peak-ewma.js";
import { createPrequal, prequalDefaults } from "../smart-router/baselines/prequal.js";
import { createRandom } from "../smart-router/baselines/random.js";
import { createRoundRobin } from "../smart-router/baselines/round-robin.js";
import { createRoutingSampling } from "../smart-router/baselines/routing-sampling.js";
import { createStaticWeights } from "../smart-router/baselines/static-weights.js";
import { type Contender, policyContender } from "./dispatch.js";
import { federatedContender } from "./federated-contender.js";
import { oracle } from "./oracle.js";
import { routerContender } from "./router-contender.js";

/** Everyone who may take part, numbered as in the design; in the order of tables. */
export const contenders: readonly Contender[] = [
  oracle,
  policyContender("P1-random", createRandom),
  policyContender("P2-round-robin", createRoundRobin),
  policyContender("P3-static-weights", createStaticWeights),
  policyContender("P4-a58-weights", () => createA58Weights()),
  policyContender("P5-least-requests", createLeastRequests),
  policyContender("P6-two-choices", createTwoChoices),
  policyContender("P6o-two-choices-a50", () => withOutlierDetection(createTwoChoices())),
  policyContender("P7-peak-ewma", () => createPeakEwma()),
  policyContender("P8-c3", ({ clientCount }) => createC3(clientCount)),
  policyContender("P9-prequal", (surroundings) => createPrequal(surroundings)),
  // The best of the grid in docs/evaluation.md, "Tuning": with one client that sees all of its own requests, numbers in flight say more than latencies.
  policyContender("P9t-prequal-tuned", (surroundings) =>
    createPrequal(surroundings, { ...prequalDefaults, hotQuantile: 0, probesPerRequest: 5 }),
  ),
  policyContender("P10-litellm-latency", () => createLiteLlmLatency()),
  policyContender("P11-routing-sampling", () => createRoutingSampling()),
  policyContender("P12-d-lin-ucb", () => createDiscountedLinUcb()),
  routerContender("P13-ours"),
  federatedContender("P13x-ours-exchanging"),
  routerContender("P13r-restarted", {}, () => {}, { restart: { atMs: 60_000, memoryAgeMs: 10_000 } }),
  routerContender("P13f-restarted-empty", {}, () => {}, { restart: { atMs: 60_000, memoryAgeMs: undefined } }),
  routerContender("P13a-no-open-age", { signals: { countsOpenAge: false } }),
  routerContender("P13b-no-quality", { rule: { usesQuality: false } }),
  routerContender("P13c-no-tail", { rule: { usesTail: false } }),
  routerContender("P13d-no-tie-set", { rule: { usesTieSet: false } }),
  routerContender("P13e-no-recent", { rule: { usesRecent: false } }),
];

/** The one with this id. A scenario names only such as there are: a test asks for each. */
export function contenderNamed(id: string): Contender {
  const found = contenders.find((contender) => contender.id === id);
  assert(found !== undefined, `a contender ${id}`);
  return found;
}
