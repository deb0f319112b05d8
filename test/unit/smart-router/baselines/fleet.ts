import type { Ended, Target } from "../../../../src/smart-router/policy.js";
import { plainRequest, type RouteRequest } from "../../../../src/smart-router/request.js";
import { endedWith } from "../../../support/ended.js";

/** Targets of these names that are well and idle. */
export function targets(...names: readonly string[]): readonly Target[] {
  return names.map((mcpId) => ({ mcpId, state: "healthy", inFlight: 0, capacity: 10, slowStart: 1, weight: 100 }));
}

export function asking(requestType: string): RouteRequest {
  return { ...plainRequest, requestType };
}

/** An answer after 100 ms, at 1 000 ms. */
export function ended(mcpId: string, changes: Partial<Ended> = {}): Ended {
  return endedWith({ decisionId: "d", mcpId, startedAtMs: 900, endedAtMs: 1_000, ...changes });
}
