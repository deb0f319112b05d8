import { Decay } from "../signals/decay.js";
import { featureCount } from "./features.js";

/** Sums of a decayed regression, as they are stored and sent. Row-major lower triangle of Σ w·x·xᵀ, and Σ w·x·y. Scaled to one moment. */
export type RidgeSums = { readonly products: readonly number[]; readonly targets: readonly number[] };

const cells = (featureCount * (featureCount + 1)) / 2;
const cellOf = (row: number, column: number): number => (row * (row + 1)) / 2 + column;

/**
 * Least squares with a ridge and exponential forgetting, shared by all MCPs: what a request itself tells of the quality to expect. Predictions are `prior` until
 * the first solution. Constant memory; 12 × 12, solved by Cholesky every `solveEvery` samples.     Source: router.md 1.2.
 */
export class Ridge {
  readonly #decay: Decay;
  readonly #ridge: number;
  readonly #prior: number;
  readonly #solveEvery: number;
  readonly #products = new Float64Array(cells);
  readonly #targets = new Float64Array(featureCount);
  /** Sums of other coordinators, added to our own when the coefficients are solved. */
  readonly #othersProducts = new Float64Array(cells);
  readonly #othersTargets = new Float64Array(featureCount);
  readonly #theta = new Float64Array(featureCount);
  readonly #factor = new Float64Array(cells);
  #unsolved = 0;
  /** Grows with each solution: whoever keeps something computed with the coefficients compares it. */
  version = 0;

  constructor(settings: {
    readonly sharedHalfLifeMs: number;
    readonly ridge: number;
    readonly prior: number;
    readonly solveEvery: number;
  }) {
    this.#decay = new Decay(settings.sharedHalfLifeMs);
    this.#ridge = settings.ridge;
    this.#prior = settings.prior;
    this.#solveEvery = settings.solveEvery;
  }

  /** Not clamped to [0, 1]. */
  predict(features: Float64Array): number {
    return this.#prior + this.dot(features);
  }

  /** What `features` adds to the prior. Linear, so it may be taken of sums of features too. */
  dot(features: Float64Array): number {
    let sum = 0;
    for (let index = 0; index < featureCount; index += 1) sum += (this.#theta[index] ?? 0) * (features[index] ?? 0);
    return sum;
  }

  get prior(): number {
    return this.#prior;
  }

  add(features: Float64Array, quality: number, weight: number, atMs: number): void {
    const factor = this.#decay.rebase(atMs);
    if (factor !== 1) this.#scale(factor);
    const counted = weight * this.#decay.weightAt(atMs);
    for (let row = 0; row < featureCount; row += 1) {
      const value = counted * (features[row] ?? 0);
      if (value === 0) continue;
      this.#targets[row] = (this.#targets[row] ?? 0) + value * (quality - this.#prior);
      for (let column = 0; column <= row; column += 1) {
        const cell = cellOf(row, column);
        this.#products[cell] = (this.#products[cell] ?? 0) + value * (features[column] ?? 0);
      }
    }
    this.#unsolved += 1;
    if (this.#unsolved >= this.#solveEvery) this.solve(atMs);
  }

  /** Brings the coefficients up to date; nothing when nothing was added. */
  solve(nowMs: number): void {
    if (this.#unsolved === 0) return;
    this.#unsolved = 0;
    const kept = this.#decay.keptAt(nowMs);
    for (let row = 0; row < featureCount; row += 1) {
      for (let column = 0; column <= row; column += 1) {
        const cell = cellOf(row, column);
        let value = ((this.#products[cell] ?? 0) + (this.#othersProducts[cell] ?? 0)) * kept + (row === column ? this.#ridge : 0);
        for (let k = 0; k < column; k += 1) value -= (this.#factor[cellOf(row, k)] ?? 0) * (this.#factor[cellOf(column, k)] ?? 0);
        this.#factor[cellOf(row, column)] = row === column ? Math.sqrt(Math.max(value, 1e-12)) : value / this.#diagonal(column);
      }
    }
    this.#substitute(kept);
    this.version += 1;
  }

  #diagonal(row: number): number {
    return this.#factor[cellOf(row, row)] ?? 1;
  }

  /** Solves L·Lᵀ·θ = b. */
  #substitute(kept: number): void {
    for (let row = 0; row < featureCount; row += 1) {
      let value = ((this.#targets[row] ?? 0) + (this.#othersTargets[row] ?? 0)) * kept;
      for (let k = 0; k < row; k += 1) value -= (this.#factor[cellOf(row, k)] ?? 0) * (this.#theta[k] ?? 0);
      this.#theta[row] = value / this.#diagonal(row);
    }
    for (let row = featureCount - 1; row >= 0; row -= 1) {
      let value = this.#theta[row] ?? 0;
      for (let k = row + 1; k < featureCount; k += 1) value -= (this.#factor[cellOf(k, row)] ?? 0) * (this.#theta[k] ?? 0);
      this.#theta[row] = value / this.#diagonal(row);
    }
  }

  /** As of `nowMs`. */
  sums(nowMs: number): RidgeSums {
    const kept = this.#decay.keptAt(nowMs);
    return { products: Array.from(this.#products, (sum) => sum * kept), targets: Array.from(this.#targets, (sum) => sum * kept) };
  }

  /** Replaces what other coordinators have learned: sums as of `nowMs`. */
  setOthers(others: readonly RidgeSums[], nowMs: number): void {
    const factor = this.#decay.rebase(nowMs);
    if (factor !== 1) this.#scale(factor);
    const weight = this.#decay.weightAt(nowMs);
    this.#othersProducts.fill(0);
    this.#othersTargets.fill(0);
    for (const { products, targets } of others) {
      for (let cell = 0; cell < cells; cell += 1)
        this.#othersProducts[cell] = (this.#othersProducts[cell] ?? 0) + (products[cell] ?? 0) * weight;
      for (let row = 0; row < featureCount; row += 1)
        this.#othersTargets[row] = (this.#othersTargets[row] ?? 0) + (targets[row] ?? 0) * weight;
    }
    this.#unsolved += 1;
  }

  /** Replaces what was learned by sums as of `nowMs`. */
  restore(sums: RidgeSums, nowMs: number): void {
    const factor = this.#decay.rebase(nowMs);
    if (factor !== 1) this.#scale(factor);
    const weight = this.#decay.weightAt(nowMs);
    for (let cell = 0; cell < cells; cell += 1) this.#products[cell] = (sums.products[cell] ?? 0) * weight;
    for (let row = 0; row < featureCount; row += 1) this.#targets[row] = (sums.targets[row] ?? 0) * weight;
    this.#unsolved = 1;
    this.solve(nowMs);
  }

  #scale(factor: number): void {
    for (let cell = 0; cell < cells; cell += 1) this.#othersProducts[cell] = (this.#othersProducts[cell] ?? 0) * factor;
    for (let row = 0; row < featureCount; row += 1) this.#othersTargets[row] = (this.#othersTargets[row] ?? 0) * factor;
    for (let cell = 0; cell < cells; cell += 1) this.#products[cell] = (this.#products[cell] ?? 0) * factor;
    for (let row = 0; row < featureCount; row += 1) this.#targets[row] = (this.#targets[row] ?? 0) * factor;
  }
}
