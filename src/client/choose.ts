import type { TransportHealth, TransportName } from "./transports/transport.js";

/** What is known of a transport now. `isSilent`: it is up and has events, and has said nothing about any for too long. */
export type Candidate = { readonly name: TransportName; readonly state: TransportHealth["state"]; readonly isSilent: boolean };

/** What is remembered of a transport.     Units: ms of a monotonic clock. */
type Standing = {
  /** Since when it can be used; undefined while it cannot. */
  readonly usableSinceMs: number | undefined;
  /** Failures, halved every `halfLifeMs`, as of `failuresAtMs`. */
  readonly failures: number;
  readonly failuresAtMs: number;
  /** How long it has to be usable before a working one is left for it. */
  readonly holdMs: number;
};

/** The transport in use, why, and since when. Undefined before any was usable. */
export type Choice = {
  readonly current: TransportName | undefined;
  readonly sinceMs: number;
  readonly reason: string;
  /** It was taken because nothing else could be used: the first that came back after an outage, or up at the start. */
  readonly isStopgap: boolean;
  readonly records: ReadonlyMap<TransportName, Standing>;
};

export type ChoiceRules = {
  /** A stream that reconnects is not given up for so long: a restart of a coordinator behind a proxy. */
  readonly graceMs: number;
  /** A transport that works is not left sooner. */
  readonly dwellMs: number;
  /** Instead of dwell and hold, where a stopgap is left for one that has not failed in use: when all come back together, they do so one after the other. */
  readonly stopgapMs: number;
  /** First and longest time that a better one must have been usable. Doubles each time it fails before `proofMs` of use. */
  readonly holdFirstMs: number;
  readonly holdMaxMs: number;
  readonly proofMs: number;
  readonly halfLifeMs: number;
};

/** Why these: failing over takes `graceMs` at most, failing back some seconds, and one that fails each time is tried every five minutes. */
export const choiceRules: ChoiceRules = {
  graceMs: 1_500,
  dwellMs: 5_000,
  stopgapMs: 1_000,
  holdFirstMs: 5_000,
  holdMaxMs: 300_000,
  proofMs: 60_000,
  halfLifeMs: 30_000,
};

export const noChoice: Choice = {
  current: undefined,
  sinceMs: Number.NEGATIVE_INFINITY,
  reason: "none is up yet",
  isStopgap: false,
  records: new Map(),
};

/**
 * The transport to use. Pure. `candidates` are in the order of preference.
 * What it promises: one that can be used is used, within `graceMs`; a working one is left only for a better one, not within `dwellMs`, and not sooner than the better one's
 * hold; a hold doubles with each failure, so that no sequence of ups and downs makes it flap. One exception: what was taken as a stopgap is left after `stopgapMs` for a better
 * one whose hold is the first one; such steps only ever lead up.
 */
export function choose(before: Choice, candidates: readonly Candidate[], nowMs: number, rules: ChoiceRules = choiceRules): Choice {
  const records = new Map(candidates.map((one) => [one.name, remember(before, one, nowMs, rules)]));
  const kept: Choice = { ...before, records };
  const usable = candidates.filter(isUsable);
  const current = candidates.find(({ name }) => name === before.current);
  if (current === undefined || !isUsable(current)) {
    const next = bestOf(usable, records, nowMs, rules);
    if (next === undefined) return kept;
    const isStopgap = [...before.records.values()].every(({ usableSinceMs }) => usableSinceMs === undefined);
    if (current === undefined) return { current: next, sinceMs: nowMs, reason: `${next} is up`, isStopgap, records };
    if (current.state === "connecting" && nowMs - lostMs(before, current.name, nowMs) < rules.graceMs) return kept;
    const fault = current.isSilent ? "says nothing" : `is ${current.state}`;
    return { current: next, sinceMs: nowMs, reason: `${current.name} ${fault}, ${next} is up`, isStopgap, records };
  }
  const isSteady = (record: Standing | undefined): boolean => {
    if (record === undefined) return false;
    const isUnhurt = before.isStopgap && record.holdMs <= rules.holdFirstMs;
    const mayLeave = nowMs - before.sinceMs >= (isUnhurt ? rules.stopgapMs : rules.dwellMs);
    return mayLeave && heldMs(record, nowMs) >= (isUnhurt ? rules.stopgapMs : record.holdMs);
  };
  const better = candidates.slice(0, candidates.indexOf(current)).find((one) => isUsable(one) && isSteady(records.get(one.name)));
  if (better === undefined) return kept;
  const reason = `${better.name} is better than ${current.name} and has been up for ${Math.round(heldMs(records.get(better.name), nowMs) / 1_000)} s`;
  return { current: better.name, sinceMs: nowMs, reason, isStopgap: before.isStopgap && better !== candidates[0], records };
}

/** How well a transport has done lately: 0 while it cannot be used, else up to 1. */
export function scoreOf(choice: Choice, name: TransportName, nowMs: number, rules: ChoiceRules = choiceRules): number {
  const record = choice.records.get(name);
  return record?.usableSinceMs === undefined ? 0 : 1 / (1 + failuresOf(record, nowMs, rules));
}

const isUsable = ({ state, isSilent }: Candidate): boolean => state === "up" && !isSilent;

function remember(before: Choice, { name, ...seen }: Candidate, nowMs: number, rules: ChoiceRules): Standing {
  const known = before.records.get(name) ?? { usableSinceMs: undefined, failures: 0, failuresAtMs: nowMs, holdMs: rules.holdFirstMs };
  const isUsableNow = isUsable({ name, ...seen });
  if (isUsableNow && known.usableSinceMs === undefined) return { ...known, usableSinceMs: nowMs };
  if (!isUsableNow && known.usableSinceMs !== undefined) {
    const wasProven = before.current === name && nowMs - before.sinceMs >= rules.proofMs;
    const holdMs = wasProven ? rules.holdFirstMs : Math.min(rules.holdMaxMs, known.holdMs * 2);
    return { usableSinceMs: undefined, failures: failuresOf(known, nowMs, rules) + 1, failuresAtMs: nowMs, holdMs };
  }
  return known;
}

/** When the current one was lost: its last failure. */
function lostMs(before: Choice, name: TransportName, nowMs: number): number {
  const record = before.records.get(name);
  return record === undefined || record.usableSinceMs !== undefined ? nowMs : record.failuresAtMs;
}

/** The first in the order of preference, unless it has done much worse than another. */
function bestOf(
  usable: readonly Candidate[],
  records: ReadonlyMap<TransportName, Standing>,
  nowMs: number,
  rules: ChoiceRules,
): TransportName | undefined {
  const scored = usable.map(({ name }) => {
    const record = records.get(name);
    return { name, score: record === undefined ? 1 : 1 / (1 + failuresOf(record, nowMs, rules)) };
  });
  const most = Math.max(...scored.map(({ score }) => score));
  return scored.find(({ score }) => score >= most / 2)?.name;
}

const heldMs = (record: Standing | undefined, nowMs: number): number =>
  record?.usableSinceMs === undefined ? 0 : nowMs - record.usableSinceMs;

const failuresOf = ({ failures, failuresAtMs }: Standing, nowMs: number, { halfLifeMs }: ChoiceRules): number =>
  failures * 0.5 ** ((nowMs - failuresAtMs) / halfLifeMs);
