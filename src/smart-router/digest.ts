import { createHash } from "node:crypto";
import { byMcpId } from "./order.js";
import type { Route } from "./table.js";

/** Numbers of RouteState in the contract; a test compares them with the generated enum. */
export const routeStateNumbers = {
  active: 1,
  warming: 2,
  degraded: 3,
  draining: 4,
  ejected: 5,
  disconnected: 6,
} as const satisfies Record<Route["state"], number>;

/**
 * What both sides of a stream compare to know that they hold the same table; the order of `routes` does not matter.
 * Shape: the first 64 bits of SHA-256 over the lines "<mcp_id>\t<weight>\t<state number>\n", as 16 hex digits.
 * Source: RoutingUpdate.digest in routes.proto.
 */
export function tableDigest(routes: readonly Pick<Route, "mcpId" | "weight" | "state">[]): string {
  const hash = createHash("sha256");
  for (const route of byMcpId(routes)) hash.update(`${route.mcpId}\t${route.weight}\t${routeStateNumbers[route.state]}\n`);
  return hash.digest("hex").slice(0, 16);
}
