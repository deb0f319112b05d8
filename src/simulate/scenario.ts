import type { Contender } from "./dispatch.js";
import { simulate } from "./engine.js";
import { commonFigures, type Figures } from "./figures.js";
import type { RunLog } from "./run-log.js";
import type { World } from "./world.js";

/** What runs may use of the world outside of the simulation. */
export type Material = {
  /** Text of a data file (data/README.md), undefined where it is not present: then a generator with the same statistics stands in. */
  readonly text: (name: string) => string | undefined;
  /** For scenarios that measure what code costs; everything else runs on simulated time. */
  readonly monotonicMs: () => number;
  /** Multiplies lengths of runs where that only costs precision; 1 in an evaluation, less for a quick look. */
  readonly scale: number;
};

/** One setting of a scenario. */
export type Cell = {
  readonly name: string;
  /** Figures of one run of one contender. Deterministic in `seed`, but for what is measured with `material.monotonicMs`. */
  readonly run: (contender: string, seed: number, material: Material) => Figures;
};

/** All figures of a scenario: those of all seeds, in the order of seeds, so that equal positions are paired. */
export type Results = {
  readonly scenario: string;
  /** Empty when there is no such run. */
  readonly values: (cell: string, contender: string, figure: string) => readonly number[];
};

/** How a target was met. */
export type Judgement = {
  /** What was measured, for people. */
  readonly measured: string;
  readonly isMet: boolean;
};

/** A promise about a contender, written before it was measured. */
export type Claim = { readonly text: string; readonly judge: (results: Results) => Judgement };

/** A question about routing, and the runs that answer it. */
export type Scenario = {
  /** "S1" to "S21", as in the design. */
  readonly id: string;
  /** Kebab-case; what people type. */
  readonly name: string;
  /** One sentence. */
  readonly question: string;
  /** How it is set up, and where the numbers come from. A few sentences. */
  readonly setting: string;
  /** Ids of those who take part; the first is the one that the claims are about. */
  readonly contenders: readonly string[];
  readonly cells: readonly Cell[];
  /** Figures that the tables show, with their headings. */
  readonly columns: readonly { readonly figure: string; readonly heading: string; readonly digits: number }[];
  /** Which of them the chart shows; the first when left out. */
  readonly chartFigure?: string;
  readonly claims: readonly Claim[];
};

/** A cell that simulates requests. `figures` adds to, or overrides, those that are told of every run. */
export function worldCell(
  name: string,
  contenderNamed: (id: string) => Contender,
  world: (material: Material, seed: number) => World,
  figures: (log: RunLog, world: World) => Figures = () => ({}),
): Cell {
  return {
    name,
    run: (contender, seed, material) => {
      const built = world(material, seed);
      const log = simulate(built, contenderNamed(contender), seed);
      return { ...commonFigures(log), ...log.own, ...figures(log, built) };
    },
  };
}
