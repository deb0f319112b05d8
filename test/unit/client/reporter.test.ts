import { expect, test } from "vitest";
import { createReporter } from "../../../src/client/index.js";
import { Reporter } from "../../../src/client/reporter.js";
import type { ReporterOptions } from "../../../src/client/reporter-options.js";
import { limits } from "../../../src/platform/limits.js";
import { ManualClock } from "../../support/manual-clock.js";

const options: ReporterOptions = { mcpId: "ocr", grpcTarget: "127.0.0.1:9", localCachePath: ":memory:", closeMaxMs: 0 };

test("a logger that is none of pino's is an option that cannot work, and nothing throws", async () => {
  for (const log of [console, {}, "warn"]) {
    // The cast: callers without types give anything.
    const reporter = createReporter({ ...options, log: log as unknown as NonNullable<ReporterOptions["log"]> });
    expect(reporter.state.kind).toBe("unusable");
    expect(reporter.state.troubles.flatMap(({ faults }) => faults.map(({ field }) => field))).toEqual(["log"]);
    expect(reporter.reportStart("i-1")).toBe(false);
    await reporter.close();
  }
});

test("no options at all make a reporter that says what is missing", () => {
  // The cast: callers without types forget them.
  const reporter = createReporter(undefined as unknown as ReporterOptions);
  expect(reporter.state.kind).toBe("unusable");
});

test("a start that cannot be read is a refused report, and the task runs all the same", async () => {
  const reporter = new Reporter(options, { outs: [] });
  const start = {
    get userId(): string {
      throw new Error("session is gone");
    },
  };
  expect(reporter.withInteraction(start, () => "result")).toBe("result");
  expect(reporter.state.counters).toMatchObject({ refused: 1, reported: 1 });
  await reporter.close();
});

test("a result that cannot be described is a refused report, and the task goes on", async () => {
  const reporter = new Reporter(options, { outs: [] });
  const result = {
    get adapterUsed(): string {
      throw new Error("adapter is gone");
    },
  };
  const task = ({ describeResult }: { readonly describeResult: (report: object) => void }): string => {
    describeResult(result);
    return "result";
  };
  expect(reporter.withInteraction(task)).toBe("result");
  expect(reporter.state.counters).toMatchObject({ refused: 1, reported: 2 });
  await reporter.close();
});

test("a flush without an end asks for no timer that would be over at once", async () => {
  const delays: number[] = [];
  const manual = new ManualClock(1_000_000);
  const clock = {
    ...{ nowMs: manual.nowMs, monotonicMs: manual.monotonicMs },
    after: (delayMs: number, task: () => void) => {
      delays.push(delayMs);
      return manual.after(delayMs, task);
    },
  };
  const reporter = new Reporter(options, { clock, outs: [] });
  expect(await reporter.flush(Number.POSITIVE_INFINITY)).toBe(true);
  expect(delays.every((delayMs) => delayMs <= limits.timerMaxMs)).toBe(true);
  await reporter.close();
});
