import { logSumExp } from "./log-mean.js";

/** An MCP as a tier counts it. `isSharing`: it may take requests. */
export type TierMember = { readonly mcpId: string; readonly priority: number; readonly capacity: number; readonly isSharing: boolean };

/** A tier bears all its traffic as long as this much of its capacity, times this, is there: 1 / 1.4 = 71 %. Envoy's default. */
const overprovisioning = 1.4;

/**
 * Share of all traffic that each tier takes: tier 0 everything while enough of its capacity is there, the next ones what is left over.
 * Shape: by priority; a tier that takes nothing has 0; the shares sum to 1, or to 0 when nobody may take requests.
 * Source: Envoy's priority levels, with capacity in place of the number of hosts; router.md 1.6.
 */
export function tierShares(members: readonly TierMember[]): ReadonlyMap<number, number> {
  const totals = new Map<number, { all: number; sharing: number }>();
  for (const { priority, capacity, isSharing } of members) {
    const total = totals.get(priority) ?? { all: 0, sharing: 0 };
    totals.set(priority, { all: total.all + capacity, sharing: total.sharing + (isSharing ? capacity : 0) });
  }
  const tiers = [...totals].sort(([a], [b]) => a - b);
  const healths = tiers.map(([, { all, sharing }]) => Math.min(1, (overprovisioning * sharing) / all));
  const health = Math.min(
    1,
    healths.reduce((sum, one) => sum + one, 0),
  );
  const shares = new Map<number, number>();
  let left = health > 0 ? 1 : 0;
  tiers.forEach(([priority], index) => {
    const share = health > 0 ? Math.min(left, (healths[index] ?? 0) / health) : 0;
    // What floating point leaves over is no tier's share.
    const taken = share < 1e-9 ? 0 : share;
    shares.set(priority, taken);
    left -= taken;
  });
  return shares;
}

/** ln weights moved so that those of each tier sum to its share; `ln` holds only MCPs of tiers that take something. One tier: as they were. */
export function splitByTier(
  ln: ReadonlyMap<string, number>,
  priorityOf: (mcpId: string) => number,
  shares: ReadonlyMap<number, number>,
): ReadonlyMap<string, number> {
  const tiers = new Map<number, number[]>();
  for (const [mcpId, value] of ln) {
    const values = tiers.get(priorityOf(mcpId)) ?? [];
    values.push(value);
    tiers.set(priorityOf(mcpId), values);
  }
  if (tiers.size <= 1) return ln;
  const moves = new Map([...tiers].map(([priority, values]) => [priority, Math.log(shares.get(priority) ?? 0) - logSumExp(values)]));
  return new Map([...ln].map(([mcpId, value]) => [mcpId, value + (moves.get(priorityOf(mcpId)) ?? 0)]));
}
