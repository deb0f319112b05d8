/** A figure with its 95 % confidence interval. */
export type Estimate = { readonly value: number; readonly low: number; readonly high: number; readonly standardError: number };

/** One row, as the estimators see it. */
export type Sample = {
  /** π(a|x) / p: how many times as likely the evaluated policy was to do what was done. ≥ 0, not yet clipped. */
  readonly ratio: number;
  readonly reward: number;
  /** Σ π(a|x)·r̂(x, a): what a model expects of the evaluated policy here. */
  readonly expected: number;
  /** r̂(x, a): what the model expects of what was done. From rows other than this one. */
  readonly predicted: number;
  /** For how many rows of the whole log this one stands; > 0. */
  readonly multiplicity: number;
};

export type Estimates = {
  /** Inverse propensity score: unbiased while no weight is clipped, and noisy. */
  readonly ips: Estimate;
  /** Self-normalised: a little biased, far less noisy; undefined when every weight is 0. */
  readonly snips: Estimate | undefined;
  /** Doubly robust: right when either the propensities or the model are. What gates look at. */
  readonly dr: Estimate;
  /** Mean reward of what was done. */
  readonly logged: Estimate;
  /** dr − logged, row by row, so that what both share cancels out. */
  readonly gain: Estimate;
  /** Effective sample size: (Σw)² / Σw², at most the number of samples. */
  readonly ess: number;
  /** Share of the weight that clipping took away, 0 to 1: the higher, the more `ips` is too low. */
  readonly clippedShare: number;
};

/**
 * Weights above this are cut: one row in 20 000 with p = 0.00005 must not decide on its own. It is the weight of a trial among ten with ε = 1 %. Lower, for example the usual 20,
 * would cut every trial, and trials are all that such a log knows of what its policy would not have done.
 */
export const weightMax = 1_000;

/** 97.5 % quantile of the normal distribution. */
const z95 = 1.959_963_985;

/**
 * IPS, SNIPS and DR with 95 % intervals. Undefined for fewer than two samples.
 * Intervals: central limit theorem over per-row scores; ratios (SNIPS, rows that stand for several) are linearised first (delta method). The bootstrap was
 * refused: with weights of at most 20 it gives the same interval, at a thousand times the cost and with a random number generator in a report that should come out
 * the same twice. A policy that learns while it logs makes rows dependent, but p is exact given the past, so each score minus its mean is a martingale difference and the
 * theorem holds still. Neither works when a handful of rows carries the weight; that is what `ess` and the gate are for. Where weights are cut, an interval is
 * wider on both sides by as much as that moved the value: the bias of clipping is no noise and would not shrink with more rows.
 * Bound: O(samples). Source: router.md 3.3; Dudík et al. 2011 (DR); Swaminathan and Joachims 2015 (SNIPS).
 */
export function estimate(samples: readonly Sample[], clipAt: number = weightMax): Estimates | undefined {
  if (samples.length < 2) return undefined;
  const weights = samples.map((sample) => Math.min(sample.ratio, clipAt));
  const weightOf = (index: number): number => weights[index] ?? 0;
  const total = sum(samples, (sample) => sample.multiplicity);
  const weight = sum(samples, (sample, index) => sample.multiplicity * weightOf(index));
  const weightSquares = sum(samples, (sample, index) => (sample.multiplicity * weightOf(index)) ** 2);
  const unclipped = sum(samples, (sample) => sample.multiplicity * sample.ratio);
  const robust = (sample: Sample, weightNow: number): number => sample.expected + weightNow * (sample.reward - sample.predicted);
  const cutMean = (score: (sample: Sample, weightNow: number) => number): Estimate =>
    widened(
      meanOf(samples, total, (sample, index) => score(sample, weightOf(index))),
      meanOf(samples, total, (sample) => score(sample, sample.ratio)),
    );
  const ratioOf = (index: number): number => samples[index]?.ratio ?? 0;
  return {
    ips: cutMean((sample, weightNow) => weightNow * sample.reward),
    snips: weight === 0 ? undefined : widened(selfNormalised(samples, weightOf, weight), selfNormalised(samples, ratioOf, unclipped)),
    dr: cutMean(robust),
    logged: meanOf(samples, total, (sample) => sample.reward),
    gain: cutMean((sample, weightNow) => robust(sample, weightNow) - sample.reward),
    ess: weightSquares === 0 ? 0 : weight ** 2 / weightSquares,
    clippedShare: unclipped === 0 ? 0 : 1 - weight / unclipped,
  };
}

/** With an interval that is wider by how far the value is from the one with uncut weights. */
function widened(cut: Estimate, uncut: Estimate): Estimate {
  const bias = Math.abs(cut.value - uncut.value);
  return { ...cut, low: cut.low - bias, high: cut.high + bias };
}

/** Σ m·score / Σ m; the score of a row deviates from it by m·(score − value), and these sum to 0. */
function meanOf(samples: readonly Sample[], total: number, score: (sample: Sample, index: number) => number): Estimate {
  const value = sum(samples, (sample, index) => sample.multiplicity * score(sample, index)) / total;
  const squares = sum(samples, (sample, index) => (sample.multiplicity * (score(sample, index) - value)) ** 2);
  return within(value, squares, total, samples.length);
}

/** Σ m·w·r / Σ m·w; to first order a row moves it by m·w·(r − value) / Σ m·w. */
function selfNormalised(samples: readonly Sample[], weightOf: (index: number) => number, weight: number): Estimate {
  const value = sum(samples, (sample, index) => sample.multiplicity * weightOf(index) * sample.reward) / weight;
  const squares = sum(samples, (sample, index) => (sample.multiplicity * weightOf(index) * (sample.reward - value)) ** 2);
  return within(value, squares, weight, samples.length);
}

function within(value: number, squares: number, total: number, count: number): Estimate {
  const standardError = Math.sqrt((squares * count) / (count - 1)) / total;
  return { value, low: value - z95 * standardError, high: value + z95 * standardError, standardError };
}

function sum(samples: readonly Sample[], term: (sample: Sample, index: number) => number): number {
  return samples.reduce((all, sample, index) => all + term(sample, index), 0);
}
