import type { Policy } from "../policy.js";

/** Settings of gRFC A50. */
export type OutlierSettings = {
  readonly intervalMs: number;
  readonly baseEjectionMs: number;
  readonly maxEjectionMs: number;
  readonly maxEjectionShare: number;
  readonly successRate: { readonly stdevFactor: number; readonly minimumHosts: number; readonly requestVolume: number };
  readonly failurePercentage: { readonly threshold: number; readonly minimumHosts: number; readonly requestVolume: number };
};

/** A50's defaults. */
export const outlierDefaults = {
  intervalMs: 10_000,
  baseEjectionMs: 30_000,
  maxEjectionMs: 300_000,
  maxEjectionShare: 0.1,
  successRate: { stdevFactor: 1.9, minimumHosts: 5, requestVolume: 100 },
  failurePercentage: { threshold: 85, minimumHosts: 5, requestVolume: 50 },
} as const satisfies OutlierSettings;

type Host = { ok: number; failed: number; ejections: number; ejectedAtMs: number | undefined };

/**
 * Takes targets from `inner` that fail far more than the others: gRPC's outlier detection with both of its tests. It judges whole intervals with a minimum volume
 * of requests, so at a few requests a minute it never judges anybody. With everyone ejected, all are given.     Source: gRFC A50, github.com/grpc/proposal.
 */
export function withOutlierDetection(inner: Policy, settings: OutlierSettings = outlierDefaults): Policy {
  const hosts = new Map<string, Host>();
  let judgedAtMs: number | undefined;
  const hostOf = (mcpId: string): Host => {
    const host = hosts.get(mcpId) ?? { ok: 0, failed: 0, ejections: 0, ejectedAtMs: undefined };
    hosts.set(mcpId, host);
    return host;
  };
  return {
    id: `${inner.id}+a50`,
    choose: (request, targets, nowMs, rng) => {
      const left = targets.filter((target) => hosts.get(target.mcpId)?.ejectedAtMs === undefined);
      return inner.choose(request, left.length === 0 ? targets : left, nowMs, rng);
    },
    assigned: (assigned) => {
      hostOf(assigned.mcpId);
      inner.assigned(assigned);
    },
    ended: (ended) => {
      const host = hostOf(ended.mcpId);
      if (ended.result === "ok") host.ok++;
      else host.failed++;
      inner.ended(ended);
    },
    tick: (nowMs) => {
      judgedAtMs ??= nowMs;
      if (nowMs - judgedAtMs >= settings.intervalMs) {
        judgedAtMs = nowMs;
        judge(
          [...hosts.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, host]) => host),
          nowMs,
          settings,
        );
      }
      inner.tick(nowMs);
    },
  };
}

/** One interval: ejects, lets back in, and forgets the counts. */
function judge(hosts: readonly Host[], nowMs: number, settings: OutlierSettings): void {
  for (const host of [...bySuccessRate(hosts, settings.successRate), ...byFailurePercentage(hosts, settings.failurePercentage)]) {
    const ejected = hosts.filter((other) => other.ejectedAtMs !== undefined).length;
    if (host.ejectedAtMs !== undefined || ejected >= Math.max(1, settings.maxEjectionShare * hosts.length)) continue;
    host.ejectedAtMs = nowMs;
    host.ejections++;
  }
  for (const host of hosts) {
    host.ok = 0;
    host.failed = 0;
    if (host.ejectedAtMs === undefined) host.ejections = Math.max(0, host.ejections - 1);
    else if (nowMs - host.ejectedAtMs > Math.min(settings.baseEjectionMs * host.ejections, settings.maxEjectionMs))
      host.ejectedAtMs = undefined;
  }
}

function bySuccessRate(
  hosts: readonly Host[],
  { stdevFactor, minimumHosts, requestVolume }: OutlierSettings["successRate"],
): readonly Host[] {
  const judged = hosts.filter((host) => host.ok + host.failed >= requestVolume);
  if (judged.length < minimumHosts) return [];
  const rates = judged.map((host) => host.ok / (host.ok + host.failed));
  const mean = rates.reduce((sum, rate) => sum + rate, 0) / rates.length;
  const stdev = Math.sqrt(rates.reduce((sum, rate) => sum + (rate - mean) ** 2, 0) / rates.length);
  return judged.filter((_, index) => (rates[index] ?? 1) < mean - stdevFactor * stdev);
}

function byFailurePercentage(hosts: readonly Host[], settings: OutlierSettings["failurePercentage"]): readonly Host[] {
  const judged = hosts.filter((host) => host.ok + host.failed >= settings.requestVolume);
  if (judged.length < settings.minimumHosts) return [];
  return judged.filter((host) => (100 * host.failed) / (host.ok + host.failed) > settings.threshold);
}
