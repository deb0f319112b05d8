import { createA58Weights } from "./baselines/a58-weights.js";
import { createC3 } from "./baselines/c3.js";
import { createDiscountedLinUcb } from "./baselines/discounted-lin-ucb.js";
import { createLeastRequests, createTwoChoices } from "./baselines/least-requests.js";
import { createLiteLlmLatency } from "./baselines/litellm-latency.js";
import { createPeakEwma } from "./baselines/peak-ewma.js";
import { createRandom } from "./baselines/random.js";
import { createRoundRobin } from "./baselines/round-robin.js";
import { createRoutingSampling } from "./baselines/routing-sampling.js";
import { createStaticWeights } from "./baselines/static-weights.js";
import { ablations, createQualityTailLoad, qualityTailLoadId } from "./decide/quality-tail-load.js";
import type { PolicyFactory } from "./router.js";

/**
 * Every policy that may be put in force or asked along, by its id: the rule, the rule without one of its parts, and those that it is compared with. Prequal is not among them: it
 * probes, and a coordinator has nothing to probe with.
 */
export const policyFactories: ReadonlyMap<string, PolicyFactory> = new Map<string, PolicyFactory>([
  [qualityTailLoadId, (book) => createQualityTailLoad(book)],
  ...Object.entries(ablations).map(([id, changed]): [string, PolicyFactory] => [id, (book) => createQualityTailLoad(book, changed, id)]),
  ["random/1", () => createRandom()],
  ["round-robin/1", () => createRoundRobin()],
  ["static-weights/1", () => createStaticWeights()],
  ["a58-weights/1", () => createA58Weights()],
  ["least-requests/1", () => createLeastRequests()],
  ["two-choices/1", () => createTwoChoices()],
  ["peak-ewma/1", () => createPeakEwma()],
  ["c3/1", () => createC3(1)],
  ["litellm-latency/1", () => createLiteLlmLatency()],
  ["routing-sampling/1", () => createRoutingSampling()],
  ["discounted-lin-ucb/1", () => createDiscountedLinUcb()],
]);
