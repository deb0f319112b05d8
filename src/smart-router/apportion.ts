import { compareIds } from "./order.js";

/** All shares together, in basis points. */
const wholeBasisPoints = 10_000;
/** Nobody starves: an MCP without traffic could never show that it has recovered. router.md 1.4. */
const floorBasisPoints = 50;

/** Least share of one of `count` MCPs: 50 basis points, or a quarter of the equal share where that is less (above 50 MCPs); at least 1. */
export function floorFor(count: number): number {
  return Math.max(1, Math.min(floorBasisPoints, Math.floor(wholeBasisPoints / (4 * count))));
}

/** Remainders are compared in millionths: finer differences are those of floating point, and would decide ties at random. */
const millionths = 1_000_000;

type Share = { readonly mcpId: string; readonly ln: number; exact: number };

/**
 * Shares in proportion to e^ln, as whole basis points: they sum to 10 000 and none is below the floor. Largest remainders are rounded up first, ties
 * by mcpId, so that everyone who computes this gets the same table.
 * Shape: at most 10 000 finite logarithms; empty for none.     Does not depend on the order of `lnWeights`.
 */
export function apportion(lnWeights: ReadonlyMap<string, number>): ReadonlyMap<string, number> {
  const shares = [...lnWeights].map(([mcpId, ln]): Share => ({ mcpId, ln, exact: 0 })).sort((a, b) => compareIds(a.mcpId, b.mcpId));
  if (shares.length === 0) return new Map();
  fillAboveFloor(shares, floorFor(shares.length));
  return roundLargestRemainders(shares);
}

/** Whoever is due less than the floor gets the floor; the others share what is left in proportion. Ends: every round but the last lifts someone. */
function fillAboveFloor(shares: readonly Share[], floor: number): void {
  let free = shares;
  let left = wholeBasisPoints;
  for (;;) {
    const top = free.reduce((highest, share) => Math.max(highest, share.ln), Number.NEGATIVE_INFINITY);
    const total = free.reduce((sum, share) => sum + Math.exp(share.ln - top), 0);
    for (const share of free) share.exact = (left * Math.exp(share.ln - top)) / total;
    const above = free.filter((share) => share.exact >= floor);
    if (above.length === free.length) return;
    for (const share of free) if (share.exact < floor) share.exact = floor;
    left -= (free.length - above.length) * floor;
    free = above;
  }
}

function roundLargestRemainders(shares: readonly Share[]): ReadonlyMap<string, number> {
  const parts = shares.map(({ mcpId, exact }) => {
    const inMillionths = Math.round(exact * millionths);
    return { mcpId, whole: Math.floor(inMillionths / millionths), remainder: inMillionths % millionths };
  });
  const weights = new Map(parts.map((part) => [part.mcpId, part.whole]));
  const given = parts.reduce((sum, part) => sum + part.whole, 0);
  const first = parts.toSorted((a, b) => b.remainder - a.remainder || compareIds(a.mcpId, b.mcpId)).slice(0, wholeBasisPoints - given);
  for (const part of first) weights.set(part.mcpId, part.whole + 1);
  return weights;
}
