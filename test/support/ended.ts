import type { Ended } from "../../src/smart-router/policy.js";
import { plainRequest } from "../../src/smart-router/request.js";

/** A request that "a" answered after 100 ms, of which nothing else was told; `over` overrides fields. */
export function endedWith(over: Partial<Ended> & Pick<Ended, "decisionId">): Ended {
  return {
    mcpId: "a",
    request: plainRequest,
    startedAtMs: 0,
    endedAtMs: 100,
    inFlightBefore: 0,
    result: "ok",
    durationMs: undefined,
    quality: undefined,
    auditedQuality: undefined,
    cost: undefined,
    ...over,
  };
}
