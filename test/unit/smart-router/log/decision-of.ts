import { mintUuidV7 } from "../../../../src/platform/uuid-v7.js";
import type { Candidate, Decision } from "../../../../src/smart-router/decision.js";
import { plainRequest } from "../../../../src/smart-router/request.js";

export const signalsOfTest = {
  mcpId: "a",
  latencyMs: 120.25,
  latencyFrom: "near",
  tail: 0.1 + 0.2,
  errorRate: 1 / 3,
  quality: 0.7,
  qualitySigma: 5e-324,
  cost: 0,
  recent: 1e-7,
  samples: 12,
} as const;

export function candidateOf(more: Partial<Candidate> = {}): Candidate {
  return {
    mcpId: "a",
    state: "healthy",
    inFlight: 1,
    capacity: 10,
    slowStart: 1,
    weight: 100,
    signals: signalsOfTest,
    rho: 0.1,
    score: 0.5,
    factors: [
      { name: "quality", contribution: 0.7 },
      { name: "tail", contribution: -0.2 },
    ],
    isHot: false,
    isExplorable: true,
    propensity: 1 / 3,
    excludedBecause: undefined,
    ...more,
  };
}

/** A decision; `candidateCount` equal candidates unless `candidates` says otherwise. */
export function decisionOf(more: Partial<Decision> = {}, candidateCount = 1): Decision {
  return {
    decisionId: mintUuidV7(),
    atMs: 1_780_000_000_000,
    atMonoMs: 5_000,
    policyId: "policy-of-test/1",
    policyHash: "00112233aabbccdd",
    request: plainRequest,
    requestClass: "/0",
    features: {
      requestType: "",
      inputBytes: 0,
      qualityLevel: "",
      privacyLevel: "",
      format: "",
      noExplore: false,
      isIdempotent: false,
      deadlineMs: undefined,
      classSignals: undefined,
    },
    chosen: "a",
    propensity: 1 / 3,
    tierShare: 1,
    epsilon: 0.01,
    regime: "normal",
    isExploration: false,
    seed: 123_456_789,
    isOpeEligible: true,
    shadow: [],
    leaseMs: 30_000,
    leaseExpiresAtMs: 35_000,
    candidates: () => Array.from({ length: candidateCount }, () => candidateOf()),
    ...more,
  };
}

export const contextOfTest = { coordinatorId: "c", keyId: "k", configVersion: 2, weightsTerm: 1, weightsVersion: 9 };
