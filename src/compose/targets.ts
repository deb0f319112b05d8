import type { RoutedFleet, RoutedMcp } from "../registry/routed.js";
import { plainTarget, type TargetConfig } from "../smart-router/router.js";

/** What MCPs registered with, as routing takes it. */
export type Targets = {
  /** The registration of an MCP, or `plainTarget` when it has none. */
  readonly baseOf: (mcpId: string) => TargetConfig;
  /** Tells of every registration there is, and from then on of each that changes. */
  readonly follow: (changed: (mcpId: string) => void) => void;
};

/** `routed` undefined: there is no registry, and every MCP is plain. `priorityDefault`: the tier of those that did not register. */
export function createTargets(routed: RoutedFleet | undefined, priorityDefault: number): Targets {
  const known = new Map(routed?.current().map((mcp) => [mcp.mcpId, mcp]));
  return {
    baseOf: (mcpId) => {
      const mcp = known.get(mcpId);
      return mcp === undefined ? plainTarget(mcpId, priorityDefault) : targetOf(mcp);
    },
    follow: (changed) => {
      for (const mcpId of known.keys()) changed(mcpId);
      routed?.subscribe((mcps, forgotten) => {
        for (const mcpId of forgotten) known.delete(mcpId);
        for (const mcp of mcps) {
          // An MCP that is away keeps what it registered with: it may come back, and until then the lack of a stream keeps requests from it.
          known.set(mcp.mcpId, mcp);
          changed(mcp.mcpId);
        }
      });
    },
  };
}

function targetOf({ mcpId, capabilities, formats, maxConcurrent, priority, weight, draining, health }: RoutedMcp): TargetConfig {
  const isAway = health === "away";
  return { mcpId, capabilities, formats, maxConcurrent, priority, weight, isDraining: draining || isAway, isExpected: !isAway };
}
