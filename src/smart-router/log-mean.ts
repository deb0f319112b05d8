/** ln of the mean of e^x over `logs`, without overflow; undefined for none. */
export function logMeanExp(logs: readonly number[]): number | undefined {
  if (logs.length === 0) return undefined;
  const top = logs.reduce((a, b) => Math.max(a, b));
  const sum = logs.reduce((total, log) => total + Math.exp(log - top), 0);
  return top + Math.log(sum / logs.length);
}

/** ln of the sum of e^x over `logs`, which are not empty. The order does not matter: they are sorted before they are added. */
export function logSumExp(logs: readonly number[]): number {
  const sorted = logs.toSorted((a, b) => a - b);
  const top = sorted.at(-1) ?? 0;
  return top + Math.log(sorted.reduce((total, log) => total + Math.exp(log - top), 0));
}
