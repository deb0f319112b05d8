/**
 * How many steps the discount may be behind: an inverse costs O(width³), and over 16 steps of a half-life of thousands nothing changes that a choice would notice.
 * An observation of one's own is never behind.
 */
const stalenessMax = 16;

/**
 * Discounted ridge regression of a reward on sparse features: V = Σ γ^(t−s) xxᵀ + λI, Ṽ the same with γ², b = Σ γ^(t−s) r x. The ridge does not fade: each step
 * adds (1−γ)λI, over k steps (1−γ^k)λI.     Cost: O(width²) memory; O(width³/6) for the first question after an observation, O(width²) for others.
 */
export class DiscountedRegression {
  readonly #width: number;
  readonly #gamma: number;
  readonly #ridge: number;
  /** Row-major and symmetric. */
  readonly #v: Float64Array;
  readonly #vTilde: Float64Array;
  readonly #b: Float64Array;
  /** Lower triangle of the Cholesky factor of V. */
  readonly #factor: Float64Array;
  readonly #solution: Float64Array;
  #step = 0;
  #isFactored = false;

  constructor(width: number, gamma: number, ridge: number) {
    this.#width = width;
    this.#gamma = gamma;
    this.#ridge = ridge;
    this.#v = new Float64Array(width * width);
    this.#vTilde = new Float64Array(width * width);
    this.#b = new Float64Array(width);
    this.#factor = new Float64Array(width * width);
    this.#solution = new Float64Array(width);
    for (let at = 0; at < width; at += 1) {
      this.#v[at * width + at] = ridge;
      this.#vTilde[at * width + at] = ridge;
    }
  }

  /** An observation at `step`; steps never go back. `features`: position to value, others are 0. */
  add(features: ReadonlyMap<number, number>, reward: number, step: number): void {
    this.#advance(step);
    for (const [row, left] of features) {
      this.#b[row] = (this.#b[row] ?? 0) + reward * left;
      for (const [column, right] of features) {
        const cell = row * this.#width + column;
        this.#v[cell] = (this.#v[cell] ?? 0) + left * right;
        this.#vTilde[cell] = (this.#vTilde[cell] ?? 0) + left * right;
      }
    }
    this.#isFactored = false;
  }

  /** xᵀV⁻¹b + optimism · √(xᵀV⁻¹ṼV⁻¹x) as of `step`. */
  upperBound(features: ReadonlyMap<number, number>, optimism: number, step: number): number {
    if (step - this.#step >= stalenessMax) this.#advance(step);
    if (!this.#isFactored) this.#factorize();
    const y = this.#solve(features);
    let mean = 0;
    let variance = 0;
    for (let row = 0; row < this.#width; row += 1) {
      const left = y[row] ?? 0;
      mean += left * (this.#b[row] ?? 0);
      let product = 0;
      for (let column = 0; column < this.#width; column += 1) product += (this.#vTilde[row * this.#width + column] ?? 0) * (y[column] ?? 0);
      variance += left * product;
    }
    return mean + optimism * Math.sqrt(Math.max(0, variance));
  }

  #advance(step: number): void {
    const steps = step - this.#step;
    if (steps <= 0) return;
    this.#step = step;
    const kept = this.#gamma ** steps;
    for (let cell = 0; cell < this.#v.length; cell += 1) {
      this.#v[cell] = (this.#v[cell] ?? 0) * kept;
      this.#vTilde[cell] = (this.#vTilde[cell] ?? 0) * kept * kept;
    }
    for (let at = 0; at < this.#width; at += 1) {
      const cell = at * this.#width + at;
      this.#b[at] = (this.#b[at] ?? 0) * kept;
      this.#v[cell] = (this.#v[cell] ?? 0) + (1 - kept) * this.#ridge;
      this.#vTilde[cell] = (this.#vTilde[cell] ?? 0) + (1 - kept * kept) * this.#ridge;
    }
    this.#isFactored = false;
  }

  /** V = L·Lᵀ; V is at least λI, so no pivot is 0. */
  #factorize(): void {
    const width = this.#width;
    const factor = this.#factor;
    for (let row = 0; row < width; row += 1) {
      for (let column = 0; column <= row; column += 1) {
        let value = this.#v[row * width + column] ?? 0;
        for (let k = 0; k < column; k += 1) value -= (factor[row * width + k] ?? 0) * (factor[column * width + k] ?? 0);
        factor[row * width + column] = row === column ? Math.sqrt(value) : value / (factor[column * width + column] ?? 1);
      }
    }
    this.#isFactored = true;
  }

  /** V⁻¹x, overwritten by the next call. */
  #solve(features: ReadonlyMap<number, number>): Float64Array {
    const width = this.#width;
    const factor = this.#factor;
    const y = this.#solution;
    for (let row = 0; row < width; row += 1) {
      let value = features.get(row) ?? 0;
      for (let k = 0; k < row; k += 1) value -= (factor[row * width + k] ?? 0) * (y[k] ?? 0);
      y[row] = value / (factor[row * width + row] ?? 1);
    }
    for (let row = width - 1; row >= 0; row -= 1) {
      let value = y[row] ?? 0;
      for (let k = row + 1; k < width; k += 1) value -= (factor[k * width + row] ?? 0) * (y[k] ?? 0);
      y[row] = value / (factor[row * width + row] ?? 1);
    }
    return y;
  }
}
