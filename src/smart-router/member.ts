import { createPatient, type Patient } from "./health/fleet-health.js";
import type { HealthSettings } from "./health/settings.js";
import { leaveOf, shutOutUntilOf, slowStartOf } from "./health/standing.js";
import { healthFactorOf } from "./health/states.js";
import { createInFlight, type InFlight, inFlightOf, placesTakenOf } from "./in-flight.js";
import type { Target } from "./policy.js";
import { plainTarget, type RoutedMcp, type TargetConfig } from "./router.js";

/** An MCP that the router knows: what is configured, how it is, what it has to do. */
export type Member = Patient & {
  config: TargetConfig;
  readonly load: InFlight;
  heardAtMs: number;
  /** Length of a lease here, from its latency; and its median latency. Refreshed once a second. */
  leaseMs: number;
  p50Ms: number;
  /** As policies see it; undefined when it must be made anew. Never changed once it is given out. */
  target: Target | undefined;
};

export function createMember(mcpId: string, priority: number, leaseMs: number, nowMs: number): Member {
  return {
    ...createPatient(mcpId, nowMs),
    config: plainTarget(mcpId, priority),
    load: createInFlight(),
    heardAtMs: nowMs,
    leaseMs,
    p50Ms: 0,
    target: undefined,
  };
}

/** Requests that an MCP may have at once when it is well. */
export function maxConcurrentOf(member: Member, concurrentDefault: number): number {
  return member.config.maxConcurrent ?? concurrentDefault;
}

/** The MCP as policies see it, with a capacity that grows with its slow start; `isWhole` gives it its whole capacity. */
export function targetOf(member: Member, concurrentDefault: number, nowMs: number, settings: HealthSettings, isWhole = false): Target {
  const { mcpId, standing, config } = member;
  if (standing.state === "warming" || isWhole || member.target === undefined) {
    const slowStart = slowStartOf(standing, nowMs, settings);
    const whole = maxConcurrentOf(member, concurrentDefault);
    const share = isWhole ? 1 : Math.max(settings.warmingCapacityMin, slowStart);
    // One failure more ejects it: until it has answered, it gets one request at a time, so that none follows the one that decides.
    const isOnTheBrink = !isWhole && standing.consecutiveErrors >= settings.consecutiveErrorsMax - 1;
    const places = standing.state === "warming" ? Math.max(1, Math.ceil(whole * share)) : whole;
    const capacity = isOnTheBrink ? Math.min(1, whole) : places;
    const inFlight = inFlightOf(member.load);
    const target = {
      mcpId,
      state: standing.state,
      // Of an MCP elsewhere, requests count of which no end is heard yet: more, in the end, than it has places.
      inFlight: placesTakenOf(member.load) < capacity ? Math.min(inFlight, capacity - 1) : inFlight,
      capacity,
      slowStart,
      weight: config.weight,
    };
    if (isWhole) return target;
    member.target = target;
  }
  return member.target;
}

/** Whether every session of it misses heartbeats or leaves routing tables unanswered. */
export function isSuspect({ load }: Member): boolean {
  return load.suspects > 0 && load.suspects === load.streams.size;
}

/** What people and the weight rule may see of it. */
export function viewOf(member: Member, concurrentDefault: number, nowMs: number, settings: HealthSettings): RoutedMcp {
  const { mcpId, config, standing, load } = member;
  const target = targetOf(member, concurrentDefault, nowMs, settings);
  let reserved = 0;
  for (const flight of load.running) if (flight.isCounted && flight.startedAtMs === undefined) reserved += 1;
  const leave = leaveOf(standing, nowMs);
  const isShutOut = standing.state === "ejected" || standing.state === "probing";
  return {
    mcpId,
    config,
    state: standing.state,
    stateSinceMs: standing.sinceMs,
    expectedAs: leave?.state,
    stateReason: standing.reason,
    isSuspect: isSuspect(member),
    openStreams: load.streams.size,
    inFlight: target.inFlight,
    reserved,
    reportedInFlight: load.reported,
    capacity: target.capacity,
    maxConcurrent: maxConcurrentOf(member, concurrentDefault),
    slowStart: leave === undefined ? target.slowStart : slowStartOf({ ...leave, warmingMs: standing.warmingMs }, nowMs, settings),
    healthFactor: healthFactorOf(standing.state),
    ejectionCount: standing.ejectionCount,
    ejectedUntilMs: isShutOut ? shutOutUntilOf(standing) : undefined,
    consecutiveErrors: standing.consecutiveErrors,
  };
}
