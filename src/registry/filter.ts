import type { Health, LeaseState, StoredMcp } from "../store/registry-rows.js";

/** Which registrations; undefined members say nothing. Without a state of the lease, those that have ended are left out. */
export type McpFilter = {
  readonly name: string | undefined;
  readonly capability: string | undefined;
  readonly type: string | undefined;
  readonly format: string | undefined;
  readonly leaseState: LeaseState | undefined;
  readonly health: Health | undefined;
};

export function fits(filter: McpFilter, mcp: StoredMcp): boolean {
  const { profile, lease } = mcp;
  if (filter.leaseState === undefined ? lease.state === "deregistered" : lease.state !== filter.leaseState) return false;
  if (filter.name !== undefined && mcp.name !== filter.name) return false;
  if (filter.type !== undefined && profile.type !== filter.type) return false;
  if (filter.health !== undefined && mcp.health !== filter.health) return false;
  if (filter.capability !== undefined && !profile.capabilities.includes(filter.capability)) return false;
  return filter.format === undefined || profile.formats.includes(filter.format);
}
