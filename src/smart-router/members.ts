import { limits } from "../platform/limits.js";
import { compareIds } from "./order.js";
import type { RouterSettings } from "./settings.js";
import type { McpSignals } from "./signals.js";

/**
 * Who may be chosen: MCPs with a live session, MCPs heard within the expiration period, and those that a table from before a restart named and that
 * still have time to come back (`held`).
 * Bound: `limits.routedMcpMax`; above it those heard last stay, ties by mcpId.     Shape: ascending by mcpId.
 */
export function membersOf(
  signals: ReadonlyMap<string, McpSignals>,
  live: ReadonlySet<string>,
  held: ReadonlySet<string>,
  nowMs: number,
  settings: Pick<RouterSettings, "weightExpirationPeriodMs">,
): readonly string[] {
  const members = new Set([...live, ...held]);
  for (const [mcpId, { heardAtMs }] of signals) {
    if (heardAtMs !== undefined && nowMs - heardAtMs < settings.weightExpirationPeriodMs) members.add(mcpId);
  }
  if (members.size <= limits.routedMcpMax) return [...members].sort(compareIds);
  const heardAt = (mcpId: string): number => signals.get(mcpId)?.heardAtMs ?? Number.MIN_SAFE_INTEGER;
  const lastHeard = [...members].sort((a, b) => heardAt(b) - heardAt(a) || compareIds(a, b));
  return lastHeard.slice(0, limits.routedMcpMax).sort(compareIds);
}
