import { limits } from "../platform/limits.js";
import type { LoadReport } from "../wire/session-terms.js";

/** The latest load report of a session. `atMs` is monotonic. */
export type MeasuredLoad = LoadReport & { readonly atMs: number };

/** What the sessions of one MCP have to do together. `utilization` is the mean of theirs. */
export type McpLoad = LoadReport & { readonly mcpId: string; readonly sessionCount: number };

/** A report as it is kept: undefined when its utilization is no share at all, counts cut to `limits.loadReportMax`. */
export function measureLoad(report: LoadReport, atMs: number): MeasuredLoad | undefined {
  if (!(report.utilization >= 0 && report.utilization <= limits.loadReportMax)) return undefined;
  const cut = (count: number) => Math.min(count, limits.loadReportMax);
  return { inFlight: cut(report.inFlight), queued: cut(report.queued), utilization: report.utilization, atMs };
}

/**
 * Reports that are still worth something, added up by MCP, in the order of their ids.
 * Bound: `limits.routedMcpMax` MCPs.     Units: `nowMs` is monotonic.
 */
export function sumLoads(
  sessions: Iterable<{ readonly mcpId: string; readonly load: MeasuredLoad | undefined }>,
  nowMs: number,
): readonly McpLoad[] {
  const sums = new Map<string, McpLoad>();
  for (const { mcpId, load } of sessions) {
    if (mcpId === "" || load === undefined || nowMs - load.atMs > limits.loadReportMaxAgeMs) continue;
    const sum = sums.get(mcpId) ?? { mcpId, sessionCount: 0, inFlight: 0, queued: 0, utilization: 0 };
    const sessionCount = sum.sessionCount + 1;
    sums.set(mcpId, {
      mcpId,
      sessionCount,
      inFlight: sum.inFlight + load.inFlight,
      queued: sum.queued + load.queued,
      utilization: sum.utilization + (load.utilization - sum.utilization) / sessionCount,
    });
  }
  return [...sums.values()].sort((a, b) => (a.mcpId < b.mcpId ? -1 : 1)).slice(0, limits.routedMcpMax);
}
