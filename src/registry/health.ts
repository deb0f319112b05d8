import { limits } from "../platform/limits.js";
import type { Health } from "../store/registry-rows.js";

/** What checks in a row have come to. Table: SPEC.md, held by test/unit/registry/health.test.ts. */
export type HealthTally = { readonly health: Health; readonly passedInRow: number; readonly failedInRow: number };

export function startTally(health: Health): HealthTally {
  return { health, passedInRow: 0, failedInRow: 0 };
}

/** The tally after one more check. The first check that passes makes an unknown MCP healthy; otherwise several in a row are needed either way. */
export function tallyCheck(tally: HealthTally, hasPassed: boolean): HealthTally {
  const passedInRow = hasPassed ? tally.passedInRow + 1 : 0;
  const failedInRow = hasPassed ? 0 : tally.failedInRow + 1;
  const rise = tally.health === "unknown" ? 1 : limits.healthRiseCount;
  if (passedInRow >= rise) return { health: "healthy", passedInRow, failedInRow };
  return { health: failedInRow >= limits.healthFallCount ? "unhealthy" : tally.health, passedInRow, failedInRow };
}
