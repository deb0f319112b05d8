import type { Arrival } from "./arrivals.js";

/** What became of one request. */
export type Outcome = {
  readonly index: number;
  readonly arrival: Arrival;
  /** Position of the server in the world; -1 when the request was refused. */
  readonly server: number;
  readonly endedAtMs: number;
  /** "late": given up at the deadline. "refused": nobody to send it to. */
  readonly result: "ok" | "error" | "late" | "refused";
  /** Requests that the server had, from everyone, when this one arrived. */
  readonly inFlightBefore: number;
  readonly coordinator: number;
  readonly quality: number | undefined;
  readonly trueQuality: number | undefined;
  readonly cost: number | undefined;
};

/** Everything that a run leaves behind. */
export type RunLog = {
  /** One per request, ascending by index, that is by arrival. */
  readonly outcomes: readonly Outcome[];
  readonly measureFromMs: number;
  readonly deadlineMs: number;
  readonly serverCount: number;
  /** How often a server was seen with so many requests: every server, every 100 ms from `measureFromMs` to the last arrival. */
  readonly inFlightSeen: ReadonlyMap<number, number>;
  /** Requests that the coordinators still took for being in flight after everything had ended. */
  readonly leaked: number;
  /** Figures of the dispatchers themselves, summed over coordinators. */
  readonly own: Readonly<Record<string, number>>;
  /** 16 hex digits over every request's server, end and result: two runs are the same run if and only if these are equal. */
  readonly hash: string;
};

/** Hash of outcomes; see `RunLog.hash`.     Source: FNV-1a, two lanes of 32 bits. */
export function hashOutcomes(outcomes: readonly Outcome[]): string {
  const words = new Uint32Array(2);
  const number = new Float64Array(words.buffer);
  let low = 0x811c9dc5;
  let high = 0xcbf29ce4;
  const add = (word: number): void => {
    low = Math.imul(low ^ word, 0x01000193);
    high = Math.imul(high ^ low ^ (word >>> 7), 0x01000193);
  };
  for (const outcome of outcomes) {
    number[0] = outcome.endedAtMs;
    add(words[0] ?? 0);
    add(words[1] ?? 0);
    add(outcome.server + 1);
    add(resultCodes[outcome.result]);
  }
  return [high, low].map((lane) => (lane >>> 0).toString(16).padStart(8, "0")).join("");
}

const resultCodes = { ok: 1, error: 2, late: 3, refused: 4 } as const satisfies Record<Outcome["result"], number>;
