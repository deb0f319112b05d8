/** ln of the mean of e^x over `logs`, without overflow; undefined for none. */
export function logMeanExp(logs: readonly number[]): number | undefined {
  if (logs.length === 0) return undefined;
  const top = logs.reduce((a, b) => Math.max(a, b));
  const sum = logs.reduce((total, log) => total + Math.exp(log - top), 0);
  return top + Math.log(sum / logs.length);
}
