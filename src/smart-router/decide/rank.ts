import type { Regime, Target } from "../policy.js";
import type { TargetSignals } from "../signal-book.js";
import { smallest } from "./order-statistic.js";
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
  /** Places of the targets that are tied for the best, and of those that may be tried out. */
  readonly tied: number[];
  readonly explored: number[];
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
  /** Weight in the draw: free places per ms, times `selfFactor`. */
  share: Float64Array;
  propensity: Float64Array;
  isHot: Uint8Array;
  /** 1 for cold targets. */
  isCandidate: Uint8Array;
  sorted: Float64Array;
};

export function createRanking(): Ranking {
  return { regime: "normal", epsilon: 0, tied: [], explored: [], shareSum: 0, ...arraysOf(64) };
}

function arraysOf(
  size: number,
): Pick<Ranking, "rho" | "score" | "worth" | "ownScore" | "merit" | "share" | "propensity" | "sorted" | "isHot" | "isCandidate"> {
  return {
    rho: new Float64Array(size),
    score: new Float64Array(size),
    worth: new Float64Array(size),
    ownScore: new Float64Array(size),
    merit: new Float64Array(size),
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
  const quality = settings.usesQuality ? signals.quality : 1;
  switch (name) {
    case "quality":
      return quality;
    case "errors":
      return -(signals.errorRate * quality);
    case "tail":
      return settings.usesTail ? -(settings.tailWeight * signals.tail) : 0;
    case "latency":
      return -(settings.latencyWeight * Math.min(1, signals.latencyMs / deadlineMs));
    case "crowding":
      return -crowdingOf(signals, inFlight, deadlineMs, settings);
    default:
      return costMax > 0 ? -(settings.costWeight * (signals.cost / costMax)) : 0;
  }
}

/**
 * What one more request takes from the `inFlight` that it meets: n · d(pace)/dn, where the pace is a_L·L/D + a_V·V. The usual latency and the usual share of late answers are stretched to the present number
 * in flight by the part of them that grows with it; a share of late answers V becomes V^(1/stretch), as if the time to the deadline were waited for.     Source: SPEC.md, "Crowding".
 */
function crowdingOf({ load, tail }: TargetSignals, inFlight: number, deadlineMs: number, settings: RuleSettings): number {
  if (load === undefined || inFlight <= 0 || load.growth <= 0) return 0;
  const stretch = 1 + load.growth * ((inFlight + 1) / (load.inFlight + 1) - 1);
  const latency = settings.latencyWeight * Math.min(settings.crowdingMax, (load.latencyMs * stretch) / deadlineMs);
  const late = settings.usesTail && tail > 0 ? tail ** (1 / stretch) : 0;
  // Who is mostly late loses no more with every further request, but it must not seem to lose less either.
  const lateGrowth = late >= mostGrowth ? mostGrowth : late > 0 ? -late * Math.log(late) : 0;
  return load.growth * (inFlight / (inFlight + 1)) * (latency + settings.tailWeight * lateGrowth);
}

/** The greatest value of V · ln(1/V), and where it is: 1/e. */
const mostGrowth = Math.exp(-1);

/** U of router.md 1.3 and its price of load: (1 − ê)·Q̂ − a_V·V̂ − a_L·min(1, L̂/D) − crowding − a_C·ĉ, as the sum of its factors in the order of `factorNames`. */
export function scoreOf(signals: TargetSignals, inFlight: number, deadlineMs: number, costMax: number, settings: RuleSettings): number {
  return (
    factorOf("quality", signals, inFlight, deadlineMs, costMax, settings) +
    factorOf("errors", signals, inFlight, deadlineMs, costMax, settings) +
    factorOf("tail", signals, inFlight, deadlineMs, costMax, settings) +
    factorOf("latency", signals, inFlight, deadlineMs, costMax, settings) +
    factorOf("crowding", signals, inFlight, deadlineMs, costMax, settings) +
    factorOf("cost", signals, inFlight, deadlineMs, costMax, settings)
  );
}

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
  into.tied.length = 0;
  into.explored.length = 0;
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

function scoreAll({ targets, signals, deadlineMs }: Situation, settings: RuleSettings, into: Ranking): void {
  const costMax = costMaxOf(signals);
  let at = 0;
  for (const one of signals) {
    into.score[at] = scoreOf(one, targets[at]?.inFlight ?? 0, deadlineMs, costMax, settings);
    at += 1;
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
  into.regime = regime;
  let least = Number.POSITIVE_INFINITY;
  let leastRecent = Number.POSITIVE_INFINITY;
  for (let at = 0; at < targets.length; at += 1) {
    into.isCandidate[at] = 0;
    const load = loadOf(targets[at], regime);
    const recent = settings.usesRecent ? (signals[at]?.recent ?? 0) : 0;
    if (load > least || (load === least && recent > leastRecent)) continue;
    if (load < least || recent < leastRecent) into.tied.length = 0;
    least = load;
    leastRecent = recent;
    into.tied.push(at);
  }
  for (const at of into.tied) {
    into.share[at] = 1;
    into.propensity[at] = 1 / into.tied.length;
  }
  into.shareSum = into.tied.length;
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
  const { isCandidate, isHot } = into;
  let hasSamples = false;
  for (let at = 0; at < targets.length; at += 1) {
    if ((signals[at]?.samples ?? 0) > 0) hasSamples = true;
    if (isCandidate[at] === 1) into.tied.push(at);
  }
  into.regime = hasSamples ? "normal" : "cold_start";
  keepWorthIt(situation, settings, into);
  keepLeastLoaded(into, settings);
  keepBest(situation, settings, into);
  for (const at of into.tied) {
    const target = targets[at];
    if (target === undefined) continue;
    const health = target.state === "degraded" ? settings.degradedShare : 1;
    const places = health * target.slowStart * (target.weight / 100) * (target.capacity - target.inFlight);
    into.share[at] = (places / (signals[at]?.latencyMs ?? 1)) * selfFactorOf(signals[at], settings);
    into.shareSum += into.share[at] ?? 0;
  }
  for (let at = 0; at < targets.length; at += 1) if (hasSamples && isHot[at] === 0 && explorable[at] === true) into.explored.push(at);
  if (into.explored.length > 0) into.epsilon = settings.epsilon;
  const { epsilon, tied, explored, shareSum, propensity, share } = into;
  for (const at of tied) propensity[at] = (1 - epsilon) * (shareSum > 0 ? (share[at] ?? 0) / shareSum : 1 / tied.length);
  for (const at of explored) propensity[at] = (propensity[at] ?? 0) + epsilon / explored.length;
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
function keepWorthIt(
  { targets, signals, deadlineMs }: Situation,
  settings: RuleSettings,
  { tied, worth, ownScore, merit, score }: Ranking,
): void {
  let growth = 0;
  for (const at of tied) growth += (signals[at]?.load?.growth ?? 0) / tied.length;
  let best = tied[0] ?? 0;
  for (const at of tied) {
    const one = signals[at];
    if (one === undefined) continue;
    const pace = -paceOf(one, deadlineMs, settings);
    const crowding = crowdingOf(one, targets[at]?.inFlight ?? 0, deadlineMs, settings);
    ownScore[at] = (score[at] ?? 0) + crowding;
    worth[at] = (ownScore[at] ?? 0) + pace - Math.max(0, pace - settings.paceSlack);
    merit[at] = (worth[at] ?? 0) - growth * Math.min(pace, settings.paceSlack) - crowding;
    if ((merit[at] ?? 0) > (merit[best] ?? 0)) best = at;
  }
  const [mostWorth, mostMerit] = [worth[best] ?? 0, merit[best] ?? 0];
  const worthSigma = worthSigmaOf(signals[best], settings);
  const meritSigma = sigmaOf(signals[best], deadlineMs, settings, growth);
  keep(tied, (at) => {
    const one = signals[at];
    if (Math.abs(mostWorth - (worth[at] ?? 0)) <= bandOf(worthSigma, worthSigmaOf(one, settings), settings)) return true;
    return mostMerit - (merit[at] ?? 0) <= bandOf(meritSigma, sigmaOf(one, deadlineMs, settings, growth), settings);
  });
}

/** Second: among equals load decides. The least loaded part stays, and who is no more than `tieLoadMin` above it. */
function keepLeastLoaded({ tied, rho, sorted }: Ranking, settings: RuleSettings): void {
  for (let place = 0; place < tied.length; place += 1) sorted[place] = rho[tied[place] ?? 0] ?? 0;
  const most = smallest(sorted, tied.length, Math.floor(settings.tieLoadQuantile * (tied.length - 1)));
  keep(tied, (at) => (rho[at] ?? 0) <= most + settings.tieLoadMin);
}

/** Third: of these, the ones whose score, pace included, is as good as the best one's; without crowding, because load has decided by now, and a newcomer that nobody has seen under load must not gain by it. */
function keepBest({ signals, deadlineMs }: Situation, settings: RuleSettings, { tied, ownScore }: Ranking): void {
  let best = tied[0] ?? 0;
  for (const at of tied) if ((ownScore[at] ?? 0) > (ownScore[best] ?? 0)) best = at;
  const bestSigma = sigmaOf(signals[best], deadlineMs, settings);
  const most = ownScore[best] ?? 0;
  keep(tied, (at) => most - (ownScore[at] ?? 0) <= bandOf(bestSigma, sigmaOf(signals[at], deadlineMs, settings), settings));
}

/** Leaves those in `places` for which `isKept` holds, in their order, without a new array. */
function keep(places: number[], isKept: (at: number) => boolean): void {
  let kept = 0;
  for (const at of places) {
    if (!isKept(at)) continue;
    places[kept] = at;
    kept += 1;
  }
  places.length = kept;
}

/** What its tail and its latency take from a score, at most 0. */
function paceOf(signals: TargetSignals, deadlineMs: number, settings: RuleSettings): number {
  return factorOf("tail", signals, 0, deadlineMs, 0, settings) + factorOf("latency", signals, 0, deadlineMs, 0, settings);
}

/** Standard error of what an answer is worth: of its quality and of its share of failures. */
function worthSigmaOf(signals: TargetSignals | undefined, settings: RuleSettings): number {
  if (signals === undefined) return 0;
  const { qualitySigma, errorRate, samples } = signals;
  const ofQuality = settings.usesQuality ? qualitySigma : 0;
  return Math.sqrt(
    ofQuality * ofQuality + (errorRate * (1 - errorRate)) / (Math.min(samples, settings.tieSamplesMax) + settings.tieSamples),
  );
}

/**
 * Standard error of a utility: of its quality, of its latency, and of its shares of late and of failed answers, as of `samples` draws. Without it, whoever was
 * unlucky a few times would fall out of the tie, get nothing any more, and stay what it seemed to be. `paceShare`: how much of the pace counts, 0 to 1.
 */
function sigmaOf(signals: TargetSignals | undefined, deadlineMs: number, settings: RuleSettings, paceShare = 1): number {
  if (signals === undefined) return 0;
  const { tail, samples, latencyMs } = signals;
  const ofWorth = worthSigmaOf(signals, settings);
  const ofLatency = settings.latencyWeight * settings.latencyNoise * Math.min(1, latencyMs / deadlineMs);
  const ofTail = settings.usesTail ? settings.tailWeight * settings.tailWeight * tail * (1 - tail) : 0;
  const count = Math.min(samples, settings.tieSamplesMax) + settings.tieSamples;
  return Math.sqrt(ofWorth * ofWorth + paceShare * paceShare * (ofLatency * ofLatency + ofTail / count));
}

/** How far a utility may be below the best one and still count as equal: a point, or half a standard error of the difference. */
function bandOf(bestSigma: number, sigma: number, settings: RuleSettings): number {
  if (!settings.usesTieSet) return 0;
  return Math.max(settings.tieMin, settings.tieSigmas * Math.sqrt(bestSigma * bestSigma + sigma * sigma));
}
