import type { StoredMcp } from "../store/registry-rows.js";
import type { Directory } from "./directory.js";

/** What routing needs to know of a registration: plain data. */
export type RoutedMcp = {
  readonly mcpId: string;
  readonly capabilities: readonly string[];
  readonly formats: readonly string[];
  readonly maxConcurrent: number;
  readonly priority: number;
  readonly weight: number;
  readonly draining: boolean;
  /** `away`: dead or deregistered; it gets nothing. `suspect`: no sign of life for a while, or failing checks; it gets what nobody else can take. */
  readonly health: "well" | "suspect" | "away";
};

export type RoutedFleet = {
  /** Every registration that is not away, by mcp_id. */
  readonly current: () => readonly RoutedMcp[];
  /** Calls `seen` with what changed, also with those that are away now, and with those that the registry has forgotten. `seen` must not throw. */
  readonly subscribe: (seen: (changed: readonly RoutedMcp[], forgotten: readonly string[]) => void) => () => void;
};

/** The directory as routing sees it. */
export function routedFleet(directory: Directory): RoutedFleet {
  return {
    current: () =>
      [...directory.all()]
        .map(routedOf)
        .filter(({ health }) => health !== "away")
        .sort((one, other) => (one.mcpId < other.mcpId ? -1 : 1)),
    subscribe: (seen) => directory.subscribe(({ mcps, forgotten }) => seen(mcps.map(routedOf), forgotten)),
  };
}

export function routedOf({ mcpId, profile, config, lease, health }: StoredMcp): RoutedMcp {
  return {
    mcpId,
    capabilities: profile.capabilities,
    formats: profile.formats,
    maxConcurrent: config.maxConcurrentRequests,
    priority: config.priority,
    weight: config.weight,
    draining: config.draining,
    health:
      lease.state === "dead" || lease.state === "deregistered"
        ? "away"
        : lease.state === "alive" && health !== "unhealthy"
          ? "well"
          : "suspect",
  };
}
