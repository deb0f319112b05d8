import { createReadStream } from "node:fs";
import { createInterface } from "node:readline";
import { unreachable } from "../platform/assert.js";

/** One request of a trace. */
export type TraceRow = {
  readonly line: number;
  /** Since the first row.     Units: ms, with fractions. */
  readonly arrivalMs: number;
  readonly contextTokens: number;
  readonly generatedTokens: number;
};

/** A line that is no request, and why. */
type TraceFault = { readonly line: number; readonly reason: string };

/** What a first pass over a trace found out. */
export type TraceSurvey = {
  readonly rows: number;
  readonly lastArrivalMs: number;
  readonly faultCount: number;
  readonly faults: readonly TraceFault[];
};

/** Faults named; the rest is counted. */
const faultsNamedMax = 10;
const columns = "TIMESTAMP,ContextTokens,GeneratedTokens";
/** Seven digits and more of a second's fraction are accepted; what JavaScript's Date cannot hold is kept as a fraction of a millisecond. */
const timestampPattern = /^(\d{4})-(\d{2})-(\d{2})[ T](\d{2}):(\d{2}):(\d{2})(\.\d{1,9})?Z?$/;
const countPattern = /^\d{1,9}$/;

type Parsed =
  | { readonly kind: "row"; readonly atMs: number; readonly contextTokens: number; readonly generatedTokens: number }
  | { readonly kind: "blank" }
  | { readonly kind: "fault"; readonly reason: string };

/** Reads a whole trace once without keeping it: how many rows, how long, and every fault counted. Errors: the file system's. */
export async function surveyTrace(path: string, limit: number): Promise<TraceSurvey> {
  const faults: TraceFault[] = [];
  let faultCount = 0;
  let rows = 0;
  let lastArrivalMs = 0;
  for await (const one of readLines(path)) {
    if ("reason" in one) {
      faultCount++;
      if (faults.length < faultsNamedMax) faults.push(one);
    } else if (rows < limit) {
      rows++;
      lastArrivalMs = one.arrivalMs;
    } else break;
  }
  return { rows, lastArrivalMs, faultCount, faults };
}

/** The rows of a trace in order, at most `limit`, read as they are asked for. Faulty lines are left out. Errors: the file system's. */
export async function* readTrace(path: string, limit: number): AsyncGenerator<TraceRow> {
  let rows = 0;
  if (limit <= 0) return;
  for await (const one of readLines(path)) {
    if ("reason" in one) continue;
    yield one;
    if (++rows >= limit) return;
  }
}

async function* readLines(path: string): AsyncGenerator<TraceRow | TraceFault> {
  const input = createReadStream(path, "utf8");
  const lines = createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY });
  let line = 0;
  let firstMs: number | undefined;
  let previousMs = Number.NEGATIVE_INFINITY;
  try {
    for await (const text of lines) {
      line++;
      if (line === 1) {
        if (text.trim() !== columns) yield { line, reason: `the header must be ${columns}` };
        continue;
      }
      const parsed = parseLine(text);
      switch (parsed.kind) {
        case "blank":
          break;
        case "fault":
          yield { line, reason: parsed.reason };
          break;
        case "row":
          if (parsed.atMs < previousMs) {
            yield { line, reason: "the timestamp is earlier than that of the line before" };
            break;
          }
          firstMs ??= parsed.atMs;
          previousMs = parsed.atMs;
          yield { line, arrivalMs: parsed.atMs - firstMs, contextTokens: parsed.contextTokens, generatedTokens: parsed.generatedTokens };
          break;
        default:
          unreachable(parsed);
      }
    }
  } finally {
    lines.close();
    input.destroy();
  }
}

function parseLine(text: string): Parsed {
  if (text.trim() === "") return { kind: "blank" };
  const fields = text.split(",").map((field) => field.trim());
  const [timestamp, context, generated] = fields;
  if (fields.length !== 3 || timestamp === undefined || context === undefined || generated === undefined) {
    return { kind: "fault", reason: `${fields.length} fields instead of 3` };
  }
  const atMs = parseTimestamp(timestamp);
  if (atMs === undefined)
    return { kind: "fault", reason: `"${timestamp.slice(0, 40)}" is not a timestamp such as 2023-11-16 18:15:46.6805900` };
  if (!countPattern.test(context)) return { kind: "fault", reason: `ContextTokens "${context.slice(0, 40)}" is not a count` };
  if (!countPattern.test(generated)) return { kind: "fault", reason: `GeneratedTokens "${generated.slice(0, 40)}" is not a count` };
  return { kind: "row", atMs, contextTokens: Number(context), generatedTokens: Number(generated) };
}

/** Milliseconds since the Unix epoch, read as UTC; undefined for what is no time, such as the 30th of February. */
export function parseTimestamp(text: string): number | undefined {
  const match = timestampPattern.exec(text);
  if (match === null) return undefined;
  const [year, month, day, hour, minute, second] = match.slice(1, 7).map(Number);
  if (year === undefined || month === undefined || day === undefined || hour === undefined || minute === undefined || second === undefined)
    return undefined;
  const wholeMs = Date.UTC(year, month - 1, day, hour, minute, second);
  const back = new Date(wholeMs);
  const isReal = back.getUTCMonth() === month - 1 && back.getUTCDate() === day && hour < 24 && minute < 60 && second < 60;
  return isReal ? wholeMs + Number(match[7] ?? 0) * 1000 : undefined;
}
