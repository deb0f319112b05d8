import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { parseTimestamp, readTrace, surveyTrace, type TraceRow } from "../../../src/cli/trace.js";

const header = "TIMESTAMP,ContextTokens,GeneratedTokens";
let dir = "";

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "mcpc-trace-"));
});
afterEach(() => rmSync(dir, { recursive: true }));

function traceOf(...lines: string[]): string {
  const path = join(dir, "trace.csv");
  writeFileSync(path, `${lines.join("\n")}\n`);
  return path;
}
const all = Number.POSITIVE_INFINITY;

test("a trace is read in order, rebased to its first row, with fractions of a millisecond", async () => {
  const path = traceOf(header, "2023-11-16 18:15:46.6805900,374,44", "2023-11-16 18:15:50.9951690,396,109");
  const rows: TraceRow[] = [];
  for await (const row of readTrace(path, all)) rows.push(row);
  expect(rows[0]).toEqual({ line: 2, arrivalMs: 0, contextTokens: 374, generatedTokens: 44 });
  expect(rows[1]?.arrivalMs).toBeCloseTo(4_314.579, 2);
  expect(await surveyTrace(path, all)).toMatchObject({ rows: 2, faultCount: 0 });
});

test("every bad line is counted and the first ten are named with their line and reason", async () => {
  const bad = [
    "x,1,2",
    "2023-02-30 01:02:03,1,2",
    "2023-11-16 18:15:46,-1,2",
    "2023-11-16 18:15:46,1",
    "2023-11-16 18:15:46,1,two",
    "2023-11-16 25:15:46,1,2",
  ];
  const survey = await surveyTrace(traceOf(header, "2023-11-16 18:15:46,1,2", ...bad, ...bad, "2023-11-16 18:15:45,1,2"), all);
  expect(survey).toMatchObject({ rows: 1, faultCount: 13 });
  expect(survey.faults).toHaveLength(10);
  expect(survey.faults.slice(0, 6).map((fault) => `${fault.line} ${fault.reason}`)).toEqual([
    '3 "x" is not a timestamp such as 2023-11-16 18:15:46.6805900',
    '4 "2023-02-30 01:02:03" is not a timestamp such as 2023-11-16 18:15:46.6805900',
    '5 ContextTokens "-1" is not a count',
    "6 2 fields instead of 3",
    '7 GeneratedTokens "two" is not a count',
    '8 "2023-11-16 25:15:46" is not a timestamp such as 2023-11-16 18:15:46.6805900',
  ]);
});

test("a row that goes back in time is a fault, an equal time is not", async () => {
  const survey = await surveyTrace(traceOf(header, "2023-11-16 18:15:46,1,2", "2023-11-16 18:15:46,1,2", "2023-11-16 18:15:45.9,1,2"), all);
  expect(survey).toMatchObject({ rows: 2, faults: [{ line: 4, reason: "the timestamp is earlier than that of the line before" }] });
});

test("a file with another header is refused", async () => {
  const survey = await surveyTrace(traceOf("a,b,c", "2023-11-16 18:15:46,1,2"), all);
  expect(survey.faults).toEqual([{ line: 1, reason: `the header must be ${header}` }]);
});

test("a limit ends the reading before later faults are seen", async () => {
  expect(await surveyTrace(traceOf(header, "2023-11-16 18:15:46,1,2", "2023-11-16 18:15:47,1,2", "bad"), 1)).toMatchObject({
    rows: 1,
    faultCount: 0,
  });
});

test("carriage returns, blank lines and a T between date and time are accepted", async () => {
  expect(await surveyTrace(traceOf(header, "2023-11-16T18:15:46.5Z,1,2\r", "", "2023-11-16 18:15:47,1,2"), all)).toMatchObject({
    rows: 2,
    faultCount: 0,
  });
});

test("a time is read as UTC", () => {
  expect(parseTimestamp("1970-01-01 00:00:01.5")).toBe(1_500);
  expect(parseTimestamp("2024-02-29 00:00:00")).toBe(Date.UTC(2024, 1, 29));
  expect(parseTimestamp("2023-02-29 00:00:00")).toBeUndefined();
});
