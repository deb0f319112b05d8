import { createHash } from "node:crypto";

/** What the digest of a table covers of one route. `stateNumber` is the number of RouteState on the wire. */
export type DigestedRoute = { readonly mcpId: string; readonly weight: number; readonly stateNumber: number };

/**
 * First 64 bits of SHA-256 over the lines "<mcp_id>\t<weight>\t<state number>\n" in ascending byte order of mcp_id.
 * Shape: an unsigned 64-bit number, as in RoutingUpdate.digest; the order of `routes` does not matter.
 * Source: routes.proto, RoutingUpdate.digest.
 */
export function routeDigest(routes: readonly DigestedRoute[]): bigint {
  const keyed = routes.map((route) => ({ route, key: Buffer.from(route.mcpId, "utf8") }));
  keyed.sort((a, b) => Buffer.compare(a.key, b.key));
  const lines = keyed.map(({ route }) => `${route.mcpId}\t${route.weight}\t${route.stateNumber}\n`);
  return createHash("sha256").update(lines.join("")).digest().readBigUInt64BE(0);
}
