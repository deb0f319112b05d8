import { limits } from "../platform/limits.js";
import type { RouteRequest } from "./request.js";
import type { Book } from "./router.js";

/** A class's latencies as they were at `atMs`, for judging single answers. `lateAboveMs` is for requests that name no deadline. */
export type Baseline = { readonly atMs: number; readonly p50Ms: number; readonly lateAboveMs: number };

const baselineMaxAgeMs = 1_000;
/** Medians of its class that an answer may take before it can be late where neither the caller nor the configuration names a deadline. */
const lateFactor = 2;

/** Latencies by class, at most a second old. Bound: `limits.routedClassesMax` classes. */
export class ClassBaselines {
  readonly #book: Pick<Book, "readClass">;
  readonly #known = new Map<string, Baseline>();

  constructor(book: Pick<Book, "readClass">) {
    this.#book = book;
  }

  of(request: RouteRequest, requestClass: string, nowMs: number): Baseline {
    const known = this.#known.get(requestClass);
    if (known !== undefined && nowMs - known.atMs < baselineMaxAgeMs) return known;
    if (this.#known.size >= limits.routedClassesMax) this.#known.clear();
    const { p50Ms, p90Ms, deadlineMs } = this.#book.readClass(request, nowMs);
    // An objective is a deadline as it stands. Without one it is the p90, which a tenth of all answers misses by definition: only what is far from the median, too, is late.
    const lateAboveMs = deadlineMs === p90Ms ? Math.max(p90Ms, lateFactor * p50Ms) : deadlineMs;
    const fresh = { atMs: nowMs, p50Ms, lateAboveMs };
    this.#known.set(requestClass, fresh);
    return fresh;
  }
}
