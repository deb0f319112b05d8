import { fromBinary } from "@bufbuild/protobuf";
import { pino } from "pino";
import { expect, test } from "vitest";
import { type InteractionEvent, InteractionEventSchema } from "../../../gen/mcp/coordinator/v1/events_pb.js";
import { createReporter } from "../../../src/client/index.js";
import { Reporter } from "../../../src/client/reporter.js";
import type { ReporterOptions } from "../../../src/client/reporter-options.js";
import type { Transport } from "../../../src/client/transports/transport.js";
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

/** A way out that is up and keeps what it takes. */
function keepingWay() {
  const taken: InteractionEvent[] = [];
  const transport: Transport = {
    name: "grpc",
    health: () => ({ state: "up", why: "" }),
    offer: (events) => {
      for (const { encoded } of events) taken.push(fromBinary(InteractionEventSchema, encoded ?? new Uint8Array()));
      return events.length;
    },
    probe: async () => undefined,
    stop: async () => undefined,
  };
  return { taken, out: { name: "grpc", open: async () => transport } as const };
}

test("the processor time and memory that an interaction reports say that they are those of the process", async () => {
  const { taken, out } = keepingWay();
  const reporter = new Reporter(options, { outs: [out] });
  reporter.withInteraction({ interactionId: "good", labels: { zone: "a" } }, ({ describeResult }) =>
    describeResult({ labels: { zone: "b" } }),
  );
  const fail = () => reporter.withInteraction({ interactionId: "bad" }, () => expect.unreachable("thrown by the task"));
  expect(fail).toThrow("thrown by the task");
  await expect.poll(() => taken.length).toBe(4);
  expect(taken.map(({ detail, labels }) => [detail.case, labels])).toEqual([
    ["start", { zone: "a" }],
    ["complete", { zone: "b", resource_usage_scope: "process" }],
    ["start", {}],
    ["error", { resource_usage_scope: "process" }],
  ]);
  for (const { detail } of taken) {
    if (detail.case !== "complete" && detail.case !== "error") continue;
    expect(detail.value.resourceUsage?.memoryBytes).toBeGreaterThan(0);
    expect(detail.value.processingTime).toBeDefined();
  }
  await reporter.close();
});

test("the log is a child of the owner's with the name of the MCP, and says which transport is used and why, and what is wrong", async () => {
  const lines: Record<string, unknown>[] = [];
  const log = pino({ base: { service: "ocr" } }, { write: (line: string) => lines.push(JSON.parse(line)) });
  const reporter = new Reporter({ ...options, log }, { outs: [keepingWay().out] });
  await expect.poll(() => reporter.state.transport).toBe("grpc");
  reporter.reportStart("");
  expect(lines).toMatchObject([
    { service: "ocr", mcp_id: "ocr", level: 30, transport: "grpc", msg: "reports go over grpc: grpc is up" },
    { service: "ocr", mcp_id: "ocr", level: 40, kind: "refused", faults: [{ field: "interaction_id" }] },
  ]);
  await reporter.close();
});
