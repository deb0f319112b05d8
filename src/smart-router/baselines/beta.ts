import type { Rng } from "../../platform/rng.js";

/** A draw from Beta(alpha, beta), both at least 1.     Source: ratio of two gamma draws. */
export function drawBeta(alpha: number, beta: number, rng: Rng): number {
  const a = drawGamma(alpha, rng);
  return a / (a + drawGamma(beta, rng));
}

/** A draw from Gamma(shape, 1), shape at least 1.     Source: Marsaglia and Tsang 2000; accepts more than 95 of 100 proposals. */
function drawGamma(shape: number, rng: Rng): number {
  const d = shape - 1 / 3;
  const c = 1 / Math.sqrt(9 * d);
  for (;;) {
    const normal = Math.sqrt(-2 * Math.log(1 - rng())) * Math.cos(2 * Math.PI * rng());
    const cubed = (1 + c * normal) ** 3;
    if (cubed <= 0) continue;
    if (Math.log(1 - rng()) < 0.5 * normal * normal + d * (1 - cubed + Math.log(cubed))) return d * cubed;
  }
}
