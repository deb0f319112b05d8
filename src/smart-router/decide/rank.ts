import type { Regime, Target } from "../policy.js";
import type { TargetSignals } from "../signal-book.js";
import { smallest } from "./order-statistic.js";
import { addPlace, keepPlaces, noPlaces, type Places } from "./places.js";
import type { RuleSettings } from "./settings.js";

/** All that the rule looks at: the targets, and at the same places what is known of each and whether it may be tried out. */
export type Situation = {
  /** Not empty, ascending by mcpId. */
  readonly targets: readonly Target[];
  readonly signals: readonly TargetSignals[];
  readonly explorable: readonly boolean[];
  /** The latency that still is in time, ms, > 0. */
  readonly deadlineMs: number;
};

/**
 * What the rule makes of a situation. Written into the same arrays again and again, because a decision must not allocate for every target;
 * only the first `targets.length` places mean something.
 */
export type Ranking = {
  regime: Regime;
  epsilon: number;
  /** The targets that are tied for the best, and those that may be tried out. */
  tied: Places;
  explored: Places;
  /** Sum of `share` over `tied`, in their order. */
  shareSum: number;
  rho: Float64Array;
  score: Float64Array;
  /** The score without what follows from load. */
  worth: Float64Array;
  /** The score without crowding: what the request itself gets. */
  ownScore: Float64Array;
  /** The worth less what follows from load. */
  merit: Float64Array;
  /** What tail and latency take from the score, and what crowding takes; at least 0. */
  pace: Float64Array;
  crowding: Float64Array;
  /** Squares of the standard errors of what an answer is worth, and of the pace. */
  worthVariance: Float64Array;
  paceVariance: Float64Array;
  /** Weight in the draw: free places per ms, times `selfFactor`. */
  share: Float64Array;
  propensity: Float64Array;
  isHot: Uint8Array;
  /** 1 for cold targets. */
  isCandidate: Uint8Array;
  sorted: Float64Array;
};

export function createRanking(): Ranking {
  return { regime: "normal", epsilon: 0, shareSum: 0, ...arraysOf(64) };
}

type Arrays = {
  readonly [Name in keyof Ranking as Ranking[Name] extends Float64Array | Uint8Array | Places ? Name : never]: Ranking[Name];
};

function arraysOf(size: number): Arrays {
  return {
    tied: noPlaces(size),
    explored: noPlaces(size),
    rho: new Float64Array(size),
    score: new Float64Array(size),
    worth: new Float64Array(size),
    ownScore: new Float64Array(size),
    merit: new Float64Array(size),
    pace: new Float64Array(size),
    crowding: new Float64Array(size),
    worthVariance: new Float64Array(size),
    paceVariance: new Float64Array(size),
    share: new Float64Array(size),
    propensity: new Float64Array(size),
    sorted: new Float64Array(size),
    isHot: new Uint8Array(size),
    isCandidate: new Uint8Array(size),
  };
}

/** Names of the factors of a score, in the order in which they are summed. */
export const factorNames = ["quality", "errors", "tail", "latency", "crowding", "cost"] as const;

/** One factor of the score of a target that has `inFlight` requests. `costMax` is the greatest cost among the targets. */
export function factorOf(
  name: (typeof factorNames)[number],
  signals: TargetSignals,
  inFlight: number,
  deadlineMs: number,
  costMax: number,
  settings: RuleSettings,
): number {
  switch (name) {
    case "quality":
      return qualityFactor(signals, settings);
    case "errors":
      return errorsFactor(signals, settings);
    case "tail":
      return tailFactor(signals, settings);
    case "latency":
      return latencyFactor(signals, deadlineMs, settings);
    case "crowding":
      return -crowdingOf(signals, inFlight, deadlineMs, settings);
    default:
      return costFactor(signals, costMax, settings);
  }
}

function qualityFactor({ quality }: TargetSignals, { usesQuality }: RuleSettings): number {
  return usesQuality ? quality : 1;
}

function errorsFactor(signals: TargetSignals, settings: RuleSettings): number {
  return -(signals.errorRate * qualityFactor(signals, settings));
}

function tailFactor({ tail }: TargetSignals, { usesTail, tailWeight }: RuleSettings): number {
  return usesTail ? -(tailWeight * tail) : 0;
}

function latencyFactor({ latencyMs }: TargetSignals, deadlineMs: number, { latencyWeight }: RuleSettings): number {
  return -(latencyWeight * Math.min(1, latencyMs / deadlineMs));
}

function costFactor({ cost }: TargetSignals, costMax: number, { costWeight }: RuleSettings): number {
  return costMax > 0 ? -(costWeight * (cost / costMax)) : 0;
}

/**
 * What one more request takes from the `inFlight` that it meets: n · d(pace)/dn, where the pace is a_L·L/D + a_V·V. The usual latency and the usual share of late answers are stretched to the present number
 * in flight by the part of them that grows with it; a share of late answers V becomes V^(1/stretch), as if the time to the deadline were waited for.     Source: SPEC.md, "Crowding".
 */
function crowdingOf({ load, tail }: TargetSignals, inFlight: number, deadlineMs: number, settings: RuleSettings): number {
  if (load === undefined || inFlight <= 0 || load.growth <= 0) return 0;
  const stretch = 1 + load.growth * ((inFlight + 1) / (load.inFlight + 1) - 1);
  const latency = settings.latencyWeight * Math.min(settings.crowdingMax, (load.latencyMs * stretch) / deadlineMs);
  const lateGrowth = settings.usesTail && tail > 0 ? lateGrowthOf(Math.log(tail) / stretch) : 0;
  return load.growth * (inFlight / (inFlight + 1)) * (latency + settings.tailWeight * lateGrowth);
}

/** V · ln(1/V) of a share of late answers, at its greatest from 1/e on: who is mostly late loses no more with every further request, but it must not seem to lose less either. */
function lateGrowthOf(lnLate: number): number {
  return lnLate >= -1 ? mostGrowth : -lnLate * Math.exp(lnLate);
}

/** The greatest value of V · ln(1/V), which it has at V = 1/e. */
const mostGrowth = Math.exp(-1);

export function costMaxOf(signals: readonly TargetSignals[]): number {
  let max = 0;
  for (const { cost } of signals) if (cost > max) max = cost;
  return max;
}

/**
 * Ranks a situation: who is hot, what each is worth, with which probability each will be drawn. Pure but for `into`; does not depend on anything else.
 * Cost: O(targets · log targets), no allocation once `into` has grown to the size of the fleet.     Source: SPEC.md, "The rule".
 */
export function rank(situation: Situation, settings: RuleSettings, into: Ranking): void {
  const count = situation.targets.length;
  if (into.rho.length < count) Object.assign(into, arraysOf(2 ** Math.ceil(Math.log2(count))));
  into.tied.count = 0;
  into.explored.count = 0;
  into.shareSum = 0;
  into.epsilon = 0;
  into.propensity.fill(0, 0, count);
  markHot(situation.targets, settings, into);
  scoreAll(situation, settings, into);
  if (isPanic(situation.targets)) rankByLoad("panic", situation, settings, into);
  else if (markCandidates(situation.targets, into)) rankCold(situation, settings, into);
  else rankByLoad("all_hot", situation, settings, into);
}

/** Targets that a calm router would not offer: the router is in a panic and offers whatever is connected. */
export function isPanic(targets: readonly Target[]): boolean {
  for (const { state, inFlight, capacity } of targets) {
    if (inFlight >= capacity) return true;
    if (state !== "healthy" && state !== "warming" && state !== "degraded") return true;
  }
  return false;
}

function markHot(targets: readonly Target[], settings: RuleSettings, into: Ranking): void {
  const { rho, sorted, isHot } = into;
  const count = targets.length;
  let at = 0;
  for (const { inFlight, capacity } of targets) {
    rho[at] = inFlight / capacity;
    at += 1;
  }
  for (at = 0; at < count; at += 1) sorted[at] = rho[at] ?? 0;
  const isSmall = count < settings.smallFleet;
  const threshold = isSmall
    ? Math.min(
        settings.hotAlways,
        Math.max(settings.smallFleetLoadMin, settings.smallFleetFactor * smallest(sorted, count, Math.floor((count - 1) / 2))),
      )
    : smallest(sorted, count, Math.floor(settings.hotQuantile * (count - 1)));
  at = 0;
  for (const { inFlight } of targets) {
    const load = rho[at] ?? 0;
    const isAbove = isSmall ? load >= threshold : load > threshold && inFlight >= settings.hotInFlightMin;
    isHot[at] = isAbove || load >= settings.hotAlways ? 1 : 0;
    at += 1;
  }
}

/**
 * U of router.md 1.3 and its price of load: (1 − ê)·Q̂ − a_V·V̂ − a_L·min(1, L̂/D) − crowding − a_C·ĉ, as the sum of its factors in the order of `factorNames`; and of
 * these what later steps ask for again. One pass: this is where most of the time of a decision goes.
 */
function scoreAll({ targets, signals, deadlineMs }: Situation, settings: RuleSettings, into: Ranking): void {
  const { score, pace, crowding } = into;
  const costMax = costMaxOf(signals);
  for (let at = 0; at < targets.length; at += 1) {
    const one = signals[at];
    const target = targets[at];
    if (one === undefined || target === undefined) continue;
    const ofTail = tailFactor(one, settings);
    const ofLatency = latencyFactor(one, deadlineMs, settings);
    const ofCrowding = crowdingOf(one, target.inFlight, deadlineMs, settings);
    pace[at] = -(ofTail + ofLatency);
    crowding[at] = ofCrowding;
    score[at] =
      qualityFactor(one, settings) + errorsFactor(one, settings) + ofTail + ofLatency - ofCrowding + costFactor(one, costMax, settings);
  }
}

/** Marks the cold targets. False when all are hot. */
function markCandidates(targets: readonly Target[], into: Ranking): boolean {
  let cold = 0;
  for (let at = 0; at < targets.length; at += 1) {
    into.isCandidate[at] = into.isHot[at] === 1 ? 0 : 1;
    cold += into.isCandidate[at] ?? 0;
  }
  return cold > 0;
}

/** Least loaded first; who got least lately breaks ties, then chance. In a panic, an MCP that is not well counts as four times as loaded. */
function rankByLoad(regime: "all_hot" | "panic", { targets, signals }: Situation, settings: RuleSettings, into: Ranking): void {
  const { tied } = into;
  into.regime = regime;
  let least = Number.POSITIVE_INFINITY;
  let leastRecent = Number.POSITIVE_INFINITY;
  for (let at = 0; at < targets.length; at += 1) {
    into.isCandidate[at] = 0;
    const load = loadOf(targets[at], regime);
    const recent = settings.usesRecent ? (signals[at]?.recent ?? 0) : 0;
    if (load > least || (load === least && recent > leastRecent)) continue;
    if (load < least || recent < leastRecent) tied.count = 0;
    least = load;
    leastRecent = recent;
    addPlace(tied, at);
  }
  for (let index = 0; index < tied.count; index += 1) {
    const at = tied.at[index] ?? 0;
    into.share[at] = 1;
    into.propensity[at] = 1 / tied.count;
  }
  into.shareSum = tied.count;
}

function loadOf(target: Target | undefined, regime: "all_hot" | "panic"): number {
  if (target === undefined) return Number.POSITIVE_INFINITY;
  if (regime === "all_hot") return target.inFlight / target.capacity;
  const isWell = target.state === "healthy" || target.state === "warming" || target.state === "degraded";
  return (target.inFlight + 1) / (target.capacity * (isWell ? 1 : panicUnwellShare));
}

/** What an ejected MCP is taken to be able to do in a panic. router.md 1.6. */
const panicUnwellShare = 0.25;

function rankCold(situation: Situation, settings: RuleSettings, into: Ranking): void {
  const { targets, signals, explorable } = situation;
  const { isCandidate, isHot, tied, explored, propensity, share } = into;
  let hasSamples = false;
  for (let at = 0; at < targets.length; at += 1) {
    if ((signals[at]?.samples ?? 0) > 0) hasSamples = true;
    if (isCandidate[at] === 1) addPlace(tied, at);
  }
  into.regime = hasSamples ? "normal" : "cold_start";
  keepWorthIt(situation, settings, into);
  keepLeastLoaded(into, settings);
  keepBest(into, settings);
  for (let index = 0; index < tied.count; index += 1) {
    const at = tied.at[index] ?? 0;
    const target = targets[at];
    if (target === undefined) continue;
    const health = target.state === "degraded" ? settings.degradedShare : 1;
    const places = health * target.slowStart * (target.weight / 100) * (target.capacity - target.inFlight);
    share[at] = (places / (signals[at]?.latencyMs ?? 1)) * selfFactorOf(signals[at], settings);
    into.shareSum += share[at] ?? 0;
  }
  for (let at = 0; at < targets.length; at += 1) if (hasSamples && isHot[at] === 0 && explorable[at] === true) addPlace(explored, at);
  if (explored.count > 0) into.epsilon = settings.epsilon;
  const { epsilon, shareSum } = into;
  for (let index = 0; index < tied.count; index += 1) {
    const at = tied.at[index] ?? 0;
    propensity[at] = (1 - epsilon) * (shareSum > 0 ? (share[at] ?? 0) / shareSum : 1 / tied.count);
  }
  for (let index = 0; index < explored.count; index += 1) {
    const at = explored.at[index] ?? 0;
    propensity[at] = (propensity[at] ?? 0) + epsilon / explored.count;
  }
}

/** What its own word does to its share; nothing where quality plays no part. */
function selfFactorOf(signals: TargetSignals | undefined, settings: RuleSettings): number {
  return settings.usesQuality ? (signals?.selfFactor ?? 1) : 1;
}

/**
 * First: those whose answers are worth as much as those of the one with the greatest merit, as far as that does not follow from their load, and those of the same merit. Merit is worth less what follows from
 * load: the pace that worth leaves out, as far as paces of this fleet grow with load, and crowding. So load decides among equals, and one with better answers is filled until what a request costs there is as
 * much as its answer gains.
 */
function keepWorthIt({ signals, deadlineMs }: Situation, settings: RuleSettings, into: Ranking): void {
  const { tied, worth, ownScore, merit, score, pace, crowding, worthVariance, paceVariance } = into;
  let growth = 0;
  for (let index = 0; index < tied.count; index += 1) growth += (signals[tied.at[index] ?? 0]?.load?.growth ?? 0) / tied.count;
  let best = tied.at[0] ?? 0;
  for (let index = 0; index < tied.count; index += 1) {
    const at = tied.at[index] ?? 0;
    const one = signals[at];
    if (one === undefined) continue;
    const ofPace = pace[at] ?? 0;
    const ofCrowding = crowding[at] ?? 0;
    ownScore[at] = (score[at] ?? 0) + ofCrowding;
    worth[at] = (ownScore[at] ?? 0) + ofPace - Math.max(0, ofPace - settings.paceSlack);
    merit[at] = (worth[at] ?? 0) - growth * Math.min(ofPace, settings.paceSlack) - ofCrowding;
    worthVariance[at] = worthVarianceOf(one, settings);
    paceVariance[at] = paceVarianceOf(one, deadlineMs, settings);
    if ((merit[at] ?? 0) > (merit[best] ?? 0)) best = at;
  }
  const mostWorth = worth[best] ?? 0;
  const mostMerit = merit[best] ?? 0;
  const growthSquared = growth * growth;
  keepPlaces(tied, (at) => {
    const worthNoise = (worthVariance[best] ?? 0) + (worthVariance[at] ?? 0);
    if (isTie(Math.abs(mostWorth - (worth[at] ?? 0)), worthNoise, settings)) return true;
    const paceNoise = (paceVariance[best] ?? 0) + (paceVariance[at] ?? 0);
    return isTie(mostMerit - (merit[at] ?? 0), worthNoise + growthSquared * paceNoise, settings);
  });
}

/** Second: among equals load decides. The least loaded part stays, and who is no more than `tieLoadMin` above it. */
function keepLeastLoaded({ tied, rho, sorted }: Ranking, settings: RuleSettings): void {
  for (let index = 0; index < tied.count; index += 1) sorted[index] = rho[tied.at[index] ?? 0] ?? 0;
  const most = smallest(sorted, tied.count, Math.floor(settings.tieLoadQuantile * (tied.count - 1)));
  keepPlaces(tied, (at) => (rho[at] ?? 0) <= most + settings.tieLoadMin);
}

/** Third: of these, the ones whose score, pace included, is as good as the best one's; without crowding, because load has decided by now, and a newcomer that nobody has seen under load must not gain by it. */
function keepBest({ tied, ownScore, worthVariance, paceVariance }: Ranking, settings: RuleSettings): void {
  let best = tied.at[0] ?? 0;
  for (let index = 1; index < tied.count; index += 1) {
    const at = tied.at[index] ?? 0;
    if ((ownScore[at] ?? 0) > (ownScore[best] ?? 0)) best = at;
  }
  const most = ownScore[best] ?? 0;
  const ofBest = (worthVariance[best] ?? 0) + (paceVariance[best] ?? 0);
  keepPlaces(tied, (at) => isTie(most - (ownScore[at] ?? 0), ofBest + (worthVariance[at] ?? 0) + (paceVariance[at] ?? 0), settings));
}

/** Variance of what an answer is worth: of its quality and of its share of failures, as of `samples` draws. */
function worthVarianceOf({ qualitySigma, errorRate, samples }: TargetSignals, settings: RuleSettings): number {
  const ofQuality = settings.usesQuality ? qualitySigma : 0;
  return ofQuality * ofQuality + (errorRate * (1 - errorRate)) / drawsOf(samples, settings);
}

/**
 * Variance of a pace: of its latency, and of its share of late answers. Without variances, whoever was unlucky a few times would fall out of the tie, get nothing any more, and stay what
 * it seemed to be.
 */
function paceVarianceOf({ tail, samples, latencyMs }: TargetSignals, deadlineMs: number, settings: RuleSettings): number {
  const ofLatency = settings.latencyWeight * settings.latencyNoise * Math.min(1, latencyMs / deadlineMs);
  const ofTail = settings.usesTail ? settings.tailWeight * settings.tailWeight * tail * (1 - tail) : 0;
  return ofLatency * ofLatency + ofTail / drawsOf(samples, settings);
}

function drawsOf(samples: number, { tieSamplesMax, tieSamples }: RuleSettings): number {
  return Math.min(samples, tieSamplesMax) + tieSamples;
}

/** Whether a utility that is lower by `difference` still counts as equal: by a point, or by half a standard error of the difference, whose square is `variance`. */
function isTie(difference: number, variance: number, { usesTieSet, tieMin, tieSigmas }: RuleSettings): boolean {
  if (difference <= 0) return true;
  if (!usesTieSet) return false;
  return difference <= tieMin || difference * difference <= tieSigmas * tieSigmas * variance;
}
