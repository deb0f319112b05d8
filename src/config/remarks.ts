import { limits } from "../platform/limits.js";
import type { Remark } from "./place.js";

/** What is to be said of one part of the configuration: all are counted, and the first `limits.configRemarksMax` are kept. */
export type Remarks = { readonly kept: Remark[]; count: number };

export function noRemarks(): Remarks {
  return { kept: [], count: 0 };
}

/** Adds one. `make` runs for those that are kept only: to find what was meant by an unknown name takes time. */
export function note(remarks: Remarks, make: () => Remark): void {
  remarks.count += 1;
  if (remarks.count <= limits.configRemarksMax) remarks.kept.push(make());
}

/** All of them, in the order given. */
export function joined(parts: readonly Remarks[]): Remarks {
  const kept = parts.flatMap((part) => part.kept).slice(0, limits.configRemarksMax);
  return { kept, count: parts.reduce((sum, { count }) => sum + count, 0) };
}

/** How many there are beyond those that are kept: "and 4 more faults"; undefined when there are none. */
export function describeRest(
  remarks: { readonly kept: { readonly length: number }; readonly count: number },
  noun: string,
): string | undefined {
  const rest = remarks.count - remarks.kept.length;
  return rest === 0 ? undefined : `and ${rest} more ${noun}${rest === 1 ? "" : "s"}`;
}
