import type { HealthState } from "../policy.js";

/** Health of an MCP as the coordinator that holds its stream tells it to others. Plain JSON; what is missing is well. */
export type HealthWord = {
  /** Its state there, if that is one that others must know. */
  readonly health?: string | undefined;
  /** It misses heartbeats there. */
  readonly isSuspect?: boolean | undefined;
};

/** What a coordinator makes of another one's word. "starting": it is well, and its slow start goes on there. */
export type ToldHealth = "well" | "starting" | "degraded" | "shut_out";

/** The word about an MCP in a state. Of one that is well it is empty, so that a digest of a fleet that is well is not longer for it. */
export function wordOf(state: HealthState | undefined, isSuspect: boolean): HealthWord {
  return {
    ...(state === "warming" || state === "degraded" || state === "ejected" || state === "probing" ? { health: state } : {}),
    ...(isSuspect ? { isSuspect } : {}),
  };
}

/** What a word says. Words of another version of this program that say nothing that is known here say that the MCP is well. */
export function readWord({ health, isSuspect }: { readonly health?: unknown; readonly isSuspect?: unknown }): {
  readonly health: ToldHealth;
  readonly isSuspect: boolean;
} {
  const told = typeof health === "string" ? readAs.get(health) : undefined;
  return { health: told ?? "well", isSuspect: isSuspect === true };
}

const readAs: ReadonlyMap<string, ToldHealth> = new Map([
  ["warming", "starting"],
  ["degraded", "degraded"],
  ["ejected", "shut_out"],
  ["probing", "shut_out"],
]);
