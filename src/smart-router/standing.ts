import type { HealthState } from "./policy.js";
import type { RouteState } from "./table.js";

/** What is known of an MCP besides its signals: its health, and what was agreed with it or set by the operator. */
export type Standing = {
  readonly state: HealthState;
  /** Share of its traffic that it may have while it starts, in (0, 1]; 1 once it is warm. */
  readonly slowStart: number;
  /** Requests that it may have at once when it is warm; > 0. */
  readonly capacity: number;
  /** What the operator set; 100 is neutral, 0 sends it nothing. */
  readonly weight: number;
  /** Tier; 0 takes traffic first. */
  readonly priority: number;
  /** It leaves: by the wish of the operator, or its own. */
  readonly isDraining: boolean;
};

/** An MCP of which nothing is known but that it is there. */
export function plainStanding(capacity: number, priority = 0): Standing {
  return { state: "healthy", slowStart: 1, capacity, weight: 100, priority, isDraining: false };
}

/** States in which an MCP has a share. */
export type SharingState = Extract<RouteState, "active" | "warming" | "degraded">;

const shownAs = {
  // It has never had a stream. That it is in a table at all is because it reports, or because a table from before a restart names it.
  joining: "active",
  warming: "warming",
  healthy: "active",
  degraded: "degraded",
  ejected: "ejected",
  // Probes are single requests that the decision plane hands out; no share of weights is small enough for that.
  probing: "ejected",
  draining: "draining",
  disconnected: "disconnected",
  gone: "disconnected",
} as const satisfies Record<HealthState, RouteState>;

/** What the route of an MCP shows. */
export function routeStateOf(standing: Standing): RouteState {
  const shown = shownAs[standing.state];
  if (!isSharing(shown)) return shown;
  return standing.isDraining || standing.weight <= 0 ? "draining" : shown;
}

/** Whether an MCP in this state has a share. */
export function isSharing(state: RouteState): state is SharingState {
  return state === "active" || state === "warming" || state === "degraded";
}
