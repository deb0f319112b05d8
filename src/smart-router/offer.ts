import type { HealthSettings } from "./health/settings.js";
import { isChosen, isLive } from "./health/states.js";
import { placesTakenOf } from "./in-flight.js";
import { isSuspect, type Member, maxConcurrentOf, targetOf } from "./member.js";
import type { Target } from "./policy.js";
import type { RouteRequest } from "./request.js";

/** Why an MCP was not offered. */
export type Exclusion = { readonly member: Member; readonly target: Target; readonly because: string };

/** Who may get a request. */
export type Offer = {
  readonly kind: "calm" | "panic" | "probe" | "full" | "nobody";
  /** Ascending by mcpId; empty when full or nobody. */
  readonly targets: readonly Target[];
  readonly excluded: readonly Exclusion[];
  /** Probability with which this tier was drawn among those that could have been. */
  readonly tierShare: number;
};

export type OfferSettings = { readonly maxConcurrentDefault: number; readonly health: HealthSettings };

/** Less than this share of the live capacity available means panic. Envoy's default. */
const panicBelow = 0.5;
/** Requests that may be shed are, when so much of the available capacity is taken. */
const shedAbove = 0.9;
/** A tier serves all that it is asked for until less than 1/1.4 of it is available. Envoy's default. */
const overprovisioning = 1.4;

/** The members of a fleet by what keeps them from a request. Filled in one pass. */
type Sorted = {
  readonly open: Member[];
  readonly suspect: Member[];
  /** Starting, with all the places of its start taken, but not all places. */
  readonly starting: Member[];
  readonly shutOut: Member[];
  readonly full: Member[];
  readonly others: Exclusion[];
  availableCapacity: number;
  liveCapacity: number;
  availableInFlight: number;
};

/**
 * Who may get a request: the ladder of router.md 1.6. First those that are well and have a place; then those whose heartbeats are missing; then those that start, with
 * all their places; when less than half of the live capacity is available, everybody who is connected.     Pure but for the targets that members keep.
 */
export function offerOf(
  members: readonly Member[],
  request: RouteRequest,
  settings: OfferSettings,
  nowMs: number,
  tierDraw: () => number,
): Offer {
  const everybody = offerEverybody(members, request, settings, nowMs);
  if (everybody !== undefined) return everybody;
  const sorted = sortMembers(members, request, settings, nowMs);
  const { open, suspect, starting, shutOut, full } = sorted;
  const refuse = (kind: "full" | "nobody"): Offer => ({
    kind,
    targets: [],
    excluded: exclusionsOf(sorted, settings, nowMs, () => false),
    tierShare: 1,
  });
  if (sorted.liveCapacity === 0) return refuse("nobody");
  const isPanic = sorted.availableCapacity < panicBelow * sorted.liveCapacity;
  if (request.isSheddable && !isPanic && sorted.availableInFlight >= shedAbove * sorted.availableCapacity) return refuse("full");
  if (isPanic) {
    const all = new Set([...open, ...suspect, ...starting, ...shutOut]);
    if (all.size === 0) return refuse(full.length > 0 ? "full" : "nobody");
    const targets = members
      .filter((member) => all.has(member))
      .map((member) => toTarget(member, starting.includes(member), settings, nowMs));
    return { kind: "panic", targets, excluded: exclusionsOf(sorted, settings, nowMs, (member) => all.has(member)), tierShare: 1 };
  }
  const rung = open.length > 0 ? open : suspect.length > 0 ? suspect : starting;
  if (rung.length === 0) return refuse(full.length > 0 ? "full" : "nobody");
  const tier = pickTier(rung, members, request, settings, tierDraw);
  const chosen = tier === undefined ? rung : rung.filter((member) => member.config.priority === tier.priority);
  const targets = chosen.map((member) => toTarget(member, rung === starting, settings, nowMs));
  const isOffered = (member: Member, from: readonly Member[]): boolean =>
    from === rung && (tier === undefined || member.config.priority === tier.priority);
  return { kind: "calm", targets, excluded: exclusionsOf(sorted, settings, nowMs, isOffered), tierShare: tier?.share ?? 1 };
}

/**
 * The usual case in one pass: all are well, of one tier, fit for the request and have a place. Undefined when that is not so, or when it takes a look at the whole to
 * decide; the ladder ends the same way then.
 */
function offerEverybody(members: readonly Member[], request: RouteRequest, settings: OfferSettings, nowMs: number): Offer | undefined {
  const first = members[0];
  if (first === undefined || request.isSheddable) return undefined;
  const { priority } = first.config;
  const targets: Target[] = [];
  for (const member of members) {
    if (!isChosen(member.standing.state) || member.config.priority !== priority || isSuspect(member)) return undefined;
    const target = targetOf(member, settings.maxConcurrentDefault, nowMs, settings.health);
    const taken = placesTakenOf(member.load);
    if (taken >= target.capacity || taken >= maxConcurrentOf(member, settings.maxConcurrentDefault)) return undefined;
    if (mismatchOf(member, request) !== undefined) return undefined;
    targets.push(target);
  }
  return { kind: "calm", targets, excluded: nobody, tierShare: 1 };
}

const nobody: readonly Exclusion[] = [];

/** Why an MCP cannot serve a request whatever its state, or undefined. */
export function mismatchOf({ mcpId, config }: Member, request: RouteRequest): string | undefined {
  if (request.exclude.size > 0 && request.exclude.has(mcpId)) return "excluded by the request";
  if (config.weight === 0) return "weight 0";
  for (const capability of request.capabilities) if (!config.capabilities.includes(capability)) return "lacks a capability";
  if (request.format !== "" && config.formats.length > 0 && !config.formats.includes(request.format)) return "does not read the format";
  return undefined;
}

function sortMembers(members: readonly Member[], request: RouteRequest, settings: OfferSettings, nowMs: number): Sorted {
  const sorted: Sorted = {
    open: [],
    suspect: [],
    starting: [],
    shutOut: [],
    full: [],
    others: [],
    availableCapacity: 0,
    liveCapacity: 0,
    availableInFlight: 0,
  };
  for (const member of members) {
    const { state } = member.standing;
    const target = targetOf(member, settings.maxConcurrentDefault, nowMs, settings.health);
    const mismatch = mismatchOf(member, request);
    if (mismatch !== undefined || !isLive(state)) {
      sorted.others.push({ member, target, because: mismatch ?? state });
      continue;
    }
    const capacity = maxConcurrentOf(member, settings.maxConcurrentDefault);
    sorted.liveCapacity += capacity;
    if (isChosen(state)) {
      sorted.availableCapacity += capacity;
      sorted.availableInFlight += Math.min(target.inFlight, capacity);
    }
    const taken = placesTakenOf(member.load);
    if (taken >= capacity) sorted.full.push(member);
    else if (!isChosen(state)) sorted.shutOut.push(member);
    else if (taken >= target.capacity) sorted.starting.push(member);
    else if (isSuspect(member)) sorted.suspect.push(member);
    else sorted.open.push(member);
  }
  return sorted;
}

function toTarget(member: Member, isWhole: boolean, settings: OfferSettings, nowMs: number): Target {
  return targetOf(member, settings.maxConcurrentDefault, nowMs, settings.health, isWhole);
}

type Tier = { readonly priority: number; readonly share: number };

/**
 * Draws a tier by the capacity that is available in each: the first gets all that 1.4 times its available share covers, the next what is left, and so on.
 * Only tiers with somebody to offer are drawn; undefined when there is one tier only.     Source: Envoy's priority levels, with capacity in place of hosts; router.md 1.4.
 */
function pickTier(
  rung: readonly Member[],
  members: readonly Member[],
  request: RouteRequest,
  settings: OfferSettings,
  tierDraw: () => number,
): Tier | undefined {
  const first = rung[0]?.config.priority;
  if (members.every((member) => member.config.priority === first)) return undefined;
  const shares = tierShares(members, new Set(rung.map((member) => member.config.priority)), request, settings);
  let left = tierDraw();
  for (const tier of shares) {
    left -= tier.share;
    if (left < 0) return tier;
  }
  return shares[shares.length - 1]; // the sum was rounded
}

/** Whether its capacity counts as the tier's, there or missing. Not before its first stream: what was never there cannot be missed. */
function isOfTier({ standing }: Member): boolean {
  return standing.state !== "gone" && standing.state !== "joining";
}

/** The share of requests that each tier in `offered` gets, ascending by priority; they sum to 1. */
function tierShares(
  members: readonly Member[],
  offered: ReadonlySet<number>,
  request: RouteRequest,
  settings: OfferSettings,
): readonly Tier[] {
  const tiers = new Map<number, { available: number; total: number }>();
  for (const member of members) {
    if (mismatchOf(member, request) !== undefined || !isOfTier(member)) continue;
    const tier = tiers.get(member.config.priority) ?? { available: 0, total: 0 };
    const capacity = maxConcurrentOf(member, settings.maxConcurrentDefault);
    tier.total += capacity;
    if (isChosen(member.standing.state) && !isSuspect(member)) tier.available += capacity;
    tiers.set(member.config.priority, tier);
  }
  let left = 1;
  const shares: Tier[] = [];
  for (const priority of [...tiers.keys()].sort((a, b) => a - b)) {
    const { available, total } = tiers.get(priority) ?? { available: 0, total: 0 };
    const share = Math.min(left, total > 0 ? (overprovisioning * available) / total : 0);
    left -= share;
    if (offered.has(priority)) shares.push({ priority, share });
  }
  const sum = shares.reduce((total, tier) => total + tier.share, 0);
  return shares.map(({ priority, share }) => ({ priority, share: sum > 0 ? share / sum : 1 / shares.length }));
}

function exclusionsOf(
  sorted: Sorted,
  settings: OfferSettings,
  nowMs: number,
  isOffered: (member: Member, from: readonly Member[]) => boolean,
): readonly Exclusion[] {
  const exclusions: Exclusion[] = [...sorted.others];
  const add = (members: readonly Member[], because: string | undefined): void => {
    for (const member of members) {
      if (!isOffered(member, members)) {
        exclusions.push({ member, target: toTarget(member, false, settings, nowMs), because: because ?? member.standing.state });
      }
    }
  };
  add(sorted.open, "another tier was drawn");
  add(sorted.suspect, "heartbeats or answers to routing tables are missing");
  add(sorted.starting, "full for its slow start, or for a row of failures");
  add(sorted.shutOut, undefined);
  add(sorted.full, "full");
  return exclusions;
}
