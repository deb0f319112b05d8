import { type Endurance, median, type Outage } from "./endurance.js";
import type { LoadResult } from "./load-client.js";

/** Results by load and row, one for each round, with a title for each row. */
export type Rounds = {
  readonly titles: Readonly<Record<string, string>>;
  readonly results: Readonly<Record<string, Readonly<Record<string, readonly LoadResult[]>>>>;
};

/** One line of the target table. `isMet` undefined: could not be measured here. */
export type Target = { readonly title: string; readonly need: string; readonly got: string; readonly isMet: boolean | undefined };

/** Middle and extremes of a figure over the rounds. */
type Spread = { readonly min: number; readonly median: number; readonly max: number };

/** Growth that counts as flat: what the garbage collector leaves lying about. Unit: MiB. Source: the target table. */
const flatMaxMib = 64;

/** All loads and rows: events per second, and latency where one event is in flight. */
export function loadTable(loads: readonly { readonly id: string; readonly title: string }[], rounds: Rounds): string {
  const lines: string[] = [];
  for (const { id, title } of loads) {
    const rows = rounds.results[id];
    if (rows === undefined) continue;
    lines.push("", title, `  ${"".padEnd(38)}${"events/s (min median max)".padStart(28)}${"p50 ms".padStart(10)}${"p99 ms".padStart(10)}`);
    for (const [row, results] of Object.entries(rows)) {
      const rate = spreadOf(results.map((result) => result.perSecond));
      const p50 = median(results.map((result) => result.p50Ms));
      const p99 = median(results.map((result) => result.p99Ms));
      const rates = [rate.min, rate.median, rate.max].map((value) => String(Math.round(value)).padStart(9)).join("");
      lines.push(`  ${(rounds.titles[row] ?? row).padEnd(38)} ${rates}${p50.toFixed(2).padStart(10)}${p99.toFixed(2).padStart(10)}`);
    }
  }
  return lines.join("\n");
}

/** Memory and long runs, one line each. */
export function enduranceLines(endurance: readonly Endurance[], outage: Outage | undefined): string {
  const lines = endurance.map(({ what, memory, load }) => {
    const rate = `${Math.round(load?.perSecond ?? 0)}/s, last tenth : first tenth ${tenthRatio(load).toFixed(2)}`;
    return `${what}: ${rate}; memory peak ${memory.peak} MiB, growth after warm-up ${memory.growth} MiB`;
  });
  if (outage !== undefined) {
    const memory = `memory ${outage.before} → ${outage.peak} MiB (+${outage.grown})`;
    lines.push(`database stopped for ${outage.seconds} s under load: ${memory}; afterwards ${Math.round(outage.perSecondAfter)} acks/s`);
  }
  return ["", ...lines].join("\n");
}

/** The target table of this project against what was measured. */
export function judgeTargets(rounds: Rounds, endurance: readonly Endurance[], outage: Outage | undefined): Target[] {
  const rate = (result: LoadResult) => result.perSecond;
  const long = endurance.find(({ id }) => id === "long");
  const many = endurance.find(({ id }) => id === "many");
  return [
    atLeast("50 × 200 single, COALESCED : hand-written micro-batched", 1, ratio(rounds, "50x200", "ours-postgres", "micro-batch", rate)),
    atLeast("50 × 200 single : raw echo that stores nothing", 0.75, ratio(rounds, "50x200", "ours-postgres", "echo", rate)),
    atLeast("batched by 64 : the ingest statement alone", 0.75, ratio(rounds, "50x640", "ours-postgres", "statement", rate)),
    atMost(
      "one in flight, p50 : hand-written single insert",
      2,
      ratio(rounds, "one", "ours-postgres", "single-insert", (result) => result.p50Ms),
    ),
    atLeast("embedded store : Postgres store, 50 × 200", 0.6, ratio(rounds, "50x200", "ours-embedded", "ours-postgres", rate)),
    {
      title: "events/s, last tenth : first tenth of 5·10⁶ (LONG=1)",
      need: "at least 0.9",
      got: long === undefined ? "not run" : tenthRatio(long.load).toFixed(2),
      isMet: long === undefined ? undefined : tenthRatio(long.load) >= 0.9,
    },
    grows("memory while streaming", many?.memory.growth),
    grows("memory with the database stopped under load", outage?.grown),
  ];
}

function grows(title: string, growth: number | undefined): Target {
  const isMet = growth === undefined ? undefined : growth < flatMaxMib;
  return { title, need: `growth under ${flatMaxMib} MiB`, got: growth === undefined ? "not run" : `${growth} MiB`, isMet };
}

function atLeast(title: string, bound: number, got: Spread | undefined): Target {
  return { title, need: `at least ${bound}`, got: spreadText(got), isMet: got === undefined ? undefined : got.median >= bound };
}

function atMost(title: string, bound: number, got: Spread | undefined): Target {
  return { title, need: `at most ${bound}`, got: spreadText(got), isMet: got === undefined ? undefined : got.median <= bound };
}

/** Ratio of two rows in the same round, over all rounds. */
function ratio(rounds: Rounds, load: string, over: string, under: string, figure: (result: LoadResult) => number): Spread | undefined {
  const upper = rounds.results[load]?.[over];
  const lower = rounds.results[load]?.[under];
  if (upper === undefined || lower === undefined) return undefined;
  return spreadOf(upper.flatMap((result, round) => (lower[round] === undefined ? [] : [figure(result) / figure(lower[round])])));
}

function tenthRatio(load: LoadResult | undefined): number {
  const [first] = load?.tenths ?? [];
  const last = load?.tenths.at(-1);
  return first === undefined || last === undefined ? 0 : last / first;
}

function spreadOf(values: readonly number[]): Spread {
  return { min: Math.min(...values), median: median(values), max: Math.max(...values) };
}

function spreadText(spread: Spread | undefined): string {
  if (spread === undefined) return "not run";
  return `min ${spread.min.toFixed(2)}, median ${spread.median.toFixed(2)}, max ${spread.max.toFixed(2)}`;
}
