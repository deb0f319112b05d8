import type { Rng } from "../../src/platform/rng.js";
import type { Audit } from "./audit.js";
import type { Load } from "./load.js";
import type { Site } from "./site.js";

/** What a fault may use. `scale` stretches the long ones: 1 in a mixed run, more when asked for. */
export type FaultContext = {
  readonly site: Site;
  readonly load: Load;
  readonly rng: Rng;
  readonly scale: number;
  /** For people, while it runs. */
  readonly say: (line: string) => void;
};

/** What a fault did, for its line in the report. `figures` are measured; `audit` is what it checked by itself, beyond the audit of the round. */
export type Injected = {
  readonly what: string;
  readonly injected: number;
  readonly figures?: Readonly<Record<string, number | string>>;
  readonly audit?: Audit;
};

/** A fault that strikes a site under load. When `strike` returns, the cause is gone: what is still broken then must mend by itself. */
export type Disturbance = {
  readonly kind: "disturbance";
  readonly id: string;
  readonly title: string;
  readonly strike: (context: FaultContext) => Promise<Injected>;
};

/** What a drill found. `skipped` says why it could not run on this machine. */
export type DrillResult = Injected & {
  readonly acked?: number;
  readonly verdicts?: ReadonlyMap<string, number>;
  readonly skipped?: string;
};

/** A fault with a scene of its own. */
export type Drill = {
  readonly kind: "drill";
  readonly id: string;
  readonly title: string;
  readonly run: (context: DrillContext) => Promise<DrillResult>;
};

export type DrillContext = {
  /** With one coordinator at least, in service, and nothing broken. Whatever a drill breaks it mends. */
  readonly site: Site;
  readonly seed: number;
  readonly rng: Rng;
  readonly scale: number;
  /** Streams of F22. */
  readonly streams: number;
  readonly say: (line: string) => void;
};

export const between = (rng: Rng, least: number, most: number): number => Math.floor(least + rng() * (most - least));

/** One of several. */
export function oneOf<T>(rng: Rng, items: readonly T[]): T {
  const item = items[Math.floor(rng() * items.length)];
  if (item === undefined) throw new Error("one of nothing was asked for");
  return item;
}
