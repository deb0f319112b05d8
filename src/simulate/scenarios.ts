import type { Material, Scenario } from "./scenario.js";
import { ablations } from "./scenarios/ablations.js";
import { antagonists } from "./scenarios/antagonists.js";
import { clockSkew } from "./scenarios/clock-skew.js";
import { coldJoin } from "./scenarios/cold-join.js";
import { decisionCost } from "./scenarios/decision-cost.js";
import { grayHang } from "./scenarios/gray-hang.js";
import { massFailure } from "./scenarios/mass-failure.js";
import { offPolicy } from "./scenarios/off-policy.js";
import { oscillation } from "./scenarios/oscillation.js";
import { poisonedQuality } from "./scenarios/poisoned-quality.js";
import { qualityDrift } from "./scenarios/quality-drift.js";
import { qualityLoad } from "./scenarios/quality-load.js";
import { qualityMix } from "./scenarios/quality-mix.js";
import { loadRamp } from "./scenarios/ramp.js";
import { restart } from "./scenarios/restart.js";
import { severalCoordinators } from "./scenarios/several-coordinators.js";
import { sinkhole } from "./scenarios/sinkhole.js";
import { slowServer } from "./scenarios/slow-server.js";
import { sparseBroken } from "./scenarios/sparse-broken.js";
import { traceReplayWith } from "./scenarios/trace-replay.js";
import { twoArms } from "./scenarios/two-arms.js";

/** Every scenario, in the order of its number. What data there are decides what the cells of some are, and what they are called. */
export const scenariosWith = (material: Pick<Material, "text">): readonly Scenario[] => [
  slowServer,
  antagonists,
  loadRamp,
  sinkhole,
  grayHang,
  qualityMix,
  twoArms,
  qualityLoad,
  qualityDrift,
  coldJoin,
  sparseBroken,
  massFailure,
  oscillation,
  traceReplayWith(material),
  clockSkew,
  offPolicy,
  poisonedQuality,
  restart,
  decisionCost,
  ablations,
  severalCoordinators,
];
