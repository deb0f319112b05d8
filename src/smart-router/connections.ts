import { limits } from "../platform/limits.js";
import { plainStanding, type Standing } from "./standing.js";

/** How a stream ended: after a drain or a half-close, or otherwise. */
export type Departure = "orderly" | "lost";

/**
 * What sessions alone tell of standing, for a publisher that nobody tells more. An MCP whose last session was lost is disconnected at once; one that left in good
 * order, when it has not come back within `limits.returnMaxMs`: a session that has reached its age is no news. After `limits.goneAfterMs` it is gone.
 * Bound: `limits.routedMcpMax` MCPs that have left; those that left longest ago are forgotten first.     Units: `nowMs` is monotonic.
 */
export type Connections = {
  readonly joined: (mcpId: string, sessionId: string) => void;
  readonly left: (mcpId: string, sessionId: string, how: Departure, nowMs: number) => void;
  /** Standings of the MCPs that had a session here. */
  readonly read: (nowMs: number) => ReadonlyMap<string, Standing>;
};

export function createConnections(capacityDefault: number): Connections {
  const open = new Map<string, Set<string>>();
  /** From when on an MCP without a session counts as disconnected. */
  const missingFrom = new Map<string, number>();
  const plain = plainStanding(capacityDefault);
  const stateAt = (fromMs: number, nowMs: number): Standing["state"] => {
    if (nowMs < fromMs) return "healthy";
    return nowMs - fromMs < limits.goneAfterMs ? "disconnected" : "gone";
  };
  return {
    joined: (mcpId, sessionId) => {
      const sessions = open.get(mcpId) ?? new Set();
      open.set(mcpId, sessions.add(sessionId));
      missingFrom.delete(mcpId);
    },
    left: (mcpId, sessionId, how, nowMs) => {
      const sessions = open.get(mcpId);
      if (sessions?.delete(sessionId) !== true || sessions.size > 0) return;
      open.delete(mcpId);
      missingFrom.set(mcpId, how === "lost" ? nowMs : nowMs + limits.returnMaxMs);
      const oldest = missingFrom.keys().next();
      if (missingFrom.size > limits.routedMcpMax && oldest.done !== true) missingFrom.delete(oldest.value);
    },
    read: (nowMs) => {
      const standings = new Map<string, Standing>();
      for (const mcpId of open.keys()) standings.set(mcpId, plain);
      for (const [mcpId, fromMs] of missingFrom) {
        standings.set(mcpId, { ...plain, state: stateAt(fromMs, nowMs) });
        // Later it is out of the table anyway: nobody has heard it within the expiration period.
        if (nowMs - fromMs >= 2 * limits.goneAfterMs) missingFrom.delete(mcpId);
      }
      return standings;
    },
  };
}
