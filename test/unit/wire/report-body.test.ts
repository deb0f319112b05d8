import { create, toJson } from "@bufbuild/protobuf";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { InteractionEventSchema } from "../../../gen/mcp/coordinator/v1/events_pb.js";
import { canonicalJson, contentText } from "../../../src/interaction/content.js";
import type { Draft, Json } from "../../../src/interaction/event.js";
import { placeOf, readReport, readReports } from "../../../src/wire/report-body.js";

const at = 1_750_016_700.123;
const ids = { interaction_id: "int_1", mcp_id: "ocr" };

function draftIn(value: unknown): Draft {
  const report = readReport(value);
  if (report.kind === "faulty") throw new Error(JSON.stringify(report.faults));
  return report.draft;
}

/** What of a draft ends up in the store; how large the report was does not. */
const contentOf = (value: unknown): Omit<Draft, "encodedBytes"> => {
  const { encodedBytes: _, ...content } = draftIn(value);
  return content;
};

function faultsOf(value: unknown): readonly [string, string][] {
  const report = readReport(value);
  return report.kind === "faulty" ? report.faults.map(({ field, reason }) => [field, reason]) : [];
}

const json = fc.jsonValue({ maxDepth: 4 }) as fc.Arbitrary<Json>; // fast-check's JsonValue is the same, but mutable

describe("the documented bodies", () => {
  it("a start of the reporter guide", () => {
    const parameters = { quality_level: "high", privacy_level: "sensitive", dpi: 300 };
    const request_data = { user_id: "user_12345", request_type: "ocr_processing", input_size: 1_024_000, parameters };
    expect(contentOf({ action: "interaction_start", ...ids, timestamp: at, request_data })).toMatchObject({
      eventId: "",
      mcpId: "ocr",
      interactionId: "int_1",
      occurredAt: { seconds: 1_750_016_700n, nanos: 123_000_000 },
      detail: {
        kind: "start",
        requestType: "ocr_processing",
        userId: "user_12345",
        inputBytes: 1_024_000n,
        qualityLevel: "high",
        privacyLevel: "sensitive",
        parameters,
        payload: undefined,
      },
    });
  });

  it("a completion of the reporter guide, where nothing is said with null", () => {
    const result_data = { success: true, output_size: 12, processing_time: null, quality_score: null, adapter_used: null };
    const { detail } = draftIn({ action: "interaction_complete", ...ids, timestamp: at, result_data });
    expect(detail).toMatchObject({ kind: "complete", success: true, outputBytes: 12n, processingTime: undefined, qualityScore: undefined });
    expect(detail?.payload).toBeUndefined();
  });

  it("an error of the reporter guide keeps the monitor's figures of the machine as content, and takes the time from them", () => {
    const performance_metrics = { processing_time: 5.333, memory_usage_mb: -12.5, cpu_usage_percent: 45.2, timestamp: at };
    const error_data = { error_type: "TimeoutError", error_message: "too slow", error_code: 110, performance_metrics };
    expect(draftIn({ action: "interaction_error", ...ids, timestamp: at, error_data }).detail).toEqual({
      kind: "error",
      errorType: "TimeoutError",
      errorCode: "110",
      errorMessage: "too slow",
      retryable: false,
      processingTime: { seconds: 5n, nanos: 333_000_000 },
      resourceUsage: undefined,
      payload: { kind: "json", contentType: "", json: { performance_metrics } },
    });
  });

  it("progress is free: what does not fit a field is content", () => {
    const progress_data = { progress: 40, step: 3, message: "page 4", eta: null };
    expect(draftIn({ action: "interaction_progress", ...ids, timestamp: at, progress_data }).detail).toMatchObject({
      kind: "progress",
      fraction: 0,
      step: "",
      message: "page 4",
      payload: { json: { progress: 40, step: 3, eta: null } },
    });
  });

  it("the flat completion of the registration document, which names neither MCP nor time", () => {
    const resource_usage = { cpu_usage: 45.2, memory_usage: 512.5 };
    const data = { interaction_id: "int_1", processing_time: 5.333, success: true, quality_score: 0.95, resource_usage };
    const report = readReport(
      { action: "report_interaction_complete", api_key: "secret", data },
      { occurredAt: { seconds: 7n, nanos: 0 } },
    );
    expect(report).toMatchObject({
      kind: "draft",
      draft: {
        mcpId: "",
        occurredAt: { seconds: 7n, nanos: 0 },
        detail: { resourceUsage: { cpuPercent: 45.2, memoryBytes: 537_395_200, gpuPercent: undefined }, payload: undefined },
      },
    });
    expect(JSON.stringify(report, (_, value) => (typeof value === "bigint" ? String(value) : value))).not.toContain("secret");
  });

  it("the whole interaction of the document is its start and its end", () => {
    const whole = {
      ...ids,
      session_id: "session_1",
      mcp_type: "workflow",
      timestamp: "2025-06-15T19:45:00.123Z",
      request_data: { user_id: "user_12345", request_type: "ocr_processing", parameters: { quality_level: "high" } },
      processing_data: {
        start_time: "2025-06-15T19:45:00.123Z",
        end_time: "2025-06-15T19:45:05.456Z",
        processing_time: 5.333,
        adapter_used: "local_model_mcp",
        steps_executed: ["validation", "ocr"],
        resource_usage: { cpu_usage: 45.2, memory_usage: 512.5, gpu_usage: 23.1 },
      },
      result_data: { success: true, output_size: 2048, quality_score: 0.95, confidence: 0.92, error_code: null, error_message: null },
      metadata: { mcp_version: "1.0.0", region: "us-west-1", build: 7 },
    };
    const drafts = readReports(whole).map((report) => (report.kind === "draft" ? report.draft : report.faults));
    expect(drafts).toMatchObject([
      {
        sessionId: "session_1",
        labels: { mcp_type: "workflow", mcp_version: "1.0.0", region: "us-west-1" },
        occurredAt: { seconds: 1_750_016_700n, nanos: 123_000_000 },
        detail: { kind: "start", userId: "user_12345", qualityLevel: "high", payload: { json: { metadata: { build: 7 } } } },
      },
      {
        occurredAt: { seconds: 1_750_016_705n, nanos: 456_000_000 },
        detail: {
          kind: "complete",
          adapterUsed: "local_model_mcp",
          stepsExecuted: ["validation", "ocr"],
          confidence: 0.92,
          outputBytes: 2048n,
        },
      },
    ]);
    expect(faultsOf(whole)).toEqual([["action", "REQUIRED"]]);
  });

  it.each(["start", "interaction_start", "report_interaction_start"])("the action %s is a start", (action) => {
    expect(draftIn({ action, ...ids, timestamp: at }).detail?.kind).toBe("start");
  });

  it("the same content is the same event as a message of Protocol Buffers", () => {
    const event = create(InteractionEventSchema, {
      ...{ mcpId: "ocr", interactionId: "int_1", occurredAt: { seconds: 1_750_016_700n, nanos: 123_000_000 } },
      detail: { case: "complete", value: { success: false, qualityScore: 0.5, processingTime: { seconds: 5n, nanos: 333_000_000 } } },
    });
    const documented = { action: "interaction_complete", ...ids, timestamp: at, result_data: { success: false, quality_score: 0.5 } };
    const flat = { ...documented, processing_time: 5.333 };
    expect(contentOf({ event: toJson(InteractionEventSchema, event) })).toMatchObject(contentOf(flat)); // whose times have a type name too
  });
});

describe("times", () => {
  it.each([
    ["2025-06-15T19:45:00.123Z", 1_750_016_700n, 123_000_000],
    ["2025-06-15T21:45:00.123456789+02:00", 1_750_016_700n, 123_456_789],
    ["2025-06-15 19:45:00z", 1_750_016_700n, 0],
    [1_750_016_700, 1_750_016_700n, 0],
    [1_750_016_700.1234567, 1_750_016_700n, 123_456_700],
    ["1750016700.5", 1_750_016_700n, 500_000_000],
  ])("%s is read to the nanosecond", (timestamp, seconds, nanos) => {
    expect(draftIn({ action: "start", ...ids, timestamp }).occurredAt).toEqual({ seconds, nanos });
  });

  it.each([
    [1_750_016_700_123, "OUT_OF_RANGE"],
    ["1750016700123", "OUT_OF_RANGE"],
    [1e300, "OUT_OF_RANGE"],
    [-1, "OUT_OF_RANGE"],
    ["1969-12-31T23:59:59Z", "OUT_OF_RANGE"],
    ["1970-01-01T00:30:00+01:00", "OUT_OF_RANGE"],
    ["2025-02-30T00:00:00Z", "MALFORMED"],
    ["2025-06-15T24:45:00Z", "MALFORMED"],
    ["2025-06-15T19:45:00", "MALFORMED"],
    ["yesterday", "MALFORMED"],
    [true, "MALFORMED"],
    [{}, "MALFORMED"],
  ])("%s is refused and not guessed at", (timestamp, reason) => {
    expect(faultsOf({ action: "start", ...ids, timestamp })).toEqual([["timestamp", reason]]);
  });

  it("every number of seconds is read as its decimal digits say", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 99_999_999_999 }), fc.integer({ min: 0, max: 999_999_999 }), (seconds, nanos) => {
        const text = `${seconds}.${String(nanos).padStart(9, "0")}`;
        expect(draftIn({ action: "start", ...ids, timestamp: text }).occurredAt).toEqual({ seconds: BigInt(seconds), nanos });
      }),
    );
  });

  it("a time of the text form is the same instant as Date has it", () => {
    fc.assert(
      fc.property(fc.date({ min: new Date(1), max: new Date("9999-12-31T23:59:59.999Z"), noInvalidDate: true }), (date) => {
        const read = draftIn({ action: "start", ...ids, timestamp: date.toISOString() }).occurredAt;
        expect(Number(read?.seconds ?? 0n) * 1_000 + (read?.nanos ?? 0) / 1e6).toBe(date.getTime());
      }),
    );
  });
});

describe("faults", () => {
  it.each<[string, unknown, [string, string][]]>([
    ["a number", 5, [["", "MALFORMED"]]],
    ["an array", [], [["", "MALFORMED"]]],
    ["no action", { ...ids, timestamp: at }, [["action", "REQUIRED"]]],
    ["an unknown action", { action: "interaction_pause", ...ids, timestamp: at }, [["action", "MALFORMED"]]],
    ["an action that is no text", { action: 1, ...ids, timestamp: at }, [["action", "MALFORMED"]]],
    ["data that is no object", { action: "start", data: "x" }, [["data", "MALFORMED"]]],
    ["a section that is no object", { action: "start", ...ids, timestamp: at, request_data: [1] }, [["request_data", "MALFORMED"]]],
    ["an id that is a number", { action: "start", timestamp: at, interaction_id: 1 }, [["interaction_id", "MALFORMED"]]],
    [
      "fields of a wrong type, each named where it stands",
      { action: "complete", data: { ...ids, timestamp: at, result_data: { success: "yes", output_size: -1, steps_executed: [1] } } },
      [
        ["data.result_data.success", "MALFORMED"],
        ["data.result_data.output_size", "OUT_OF_RANGE"],
        ["data.result_data.steps_executed", "MALFORMED"],
      ],
    ],
    [
      "a usage that is no number",
      { action: "complete", ...ids, timestamp: at, resource_usage: { cpu_usage: "much" } },
      [["resource_usage.cpu_usage", "MALFORMED"]],
    ],
    [
      "two values for one field",
      { action: "complete", ...ids, timestamp: at, success: true, result_data: { success: false } },
      [["result_data.success", "MALFORMED"]],
    ],
    ["an event that is no object", { event: 1 }, [["event", "REQUIRED"]]],
    ["an event whose field does not fit", { event: { interactionId: 1 } }, [["event.interaction_id", "MALFORMED"]]],
  ])("%s", (_what, value, faults) => {
    expect(faultsOf(value)).toEqual(faults);
  });

  it("a nesting that would exhaust a stack is refused", () => {
    const deep = JSON.parse(`${'{"a":'.repeat(100_000)}1${"}".repeat(100_000)}`);
    expect(faultsOf(deep)).toEqual([["", "TOO_DEEP"]]);
    expect(faultsOf({ event: deep })).toEqual([["", "TOO_DEEP"]]);
  });

  it("the place of a field that the contract refuses later is its path in the report", () => {
    const places = (value: unknown, field: string) => {
      const report = readReport(value);
      return report.kind === "draft" ? placeOf(report.places, field) : "";
    };
    const nested = { action: "complete", data: { ...ids, result_data: { quality_score: 7, x: 1 } } };
    expect(places(nested, "complete.quality_score")).toBe("data.result_data.quality_score");
    expect(places(nested, "complete.result.json")).toBe("data.result_data");
    expect(places(nested, "occurred_at")).toBe("data.timestamp");
    expect(places({ event: { complete: { qualityScore: 7 } } }, "complete.quality_score")).toBe("event.complete.quality_score");
  });
});

describe("for every report", () => {
  it("whatever the JSON value is, it is a draft or has faults", () => {
    const action = fc.constantFrom("start", "interaction_progress", "report_interaction_complete", "error", 1, null);
    const member = fc.constantFrom(
      ...["interaction_id", "mcp_id", "timestamp", "data", "request_data", "request_info", "progress_data", "result_data", "error_data"],
      ...["processing_data", "metadata", "labels", "resource_usage", "performance_metrics", "parameters", "success", "__proto__", "event"],
    );
    const documented = fc
      .tuple(action, fc.array(fc.tuple(member, json)))
      .map(([word, members]) => ({ action: word, ...Object.fromEntries(members) }));
    fc.assert(
      fc.property(fc.oneof(json, documented), (value) => {
        for (const report of readReports(value)) {
          if (report.kind === "faulty") expect(report.faults.length).toBeGreaterThan(0);
          else expect(report.draft.detail).toBeDefined();
        }
      }),
      { numRuns: 2_000 },
    );
  });

  const content = fc.record(
    {
      success: fc.boolean(),
      processing_time: fc.double({ min: 0, max: 1e6, noNaN: true }),
      quality_score: fc.double({ min: 0, max: 1, noNaN: true }),
      output_size: fc.nat(),
      adapter_used: fc.string({ maxLength: 20 }),
      steps_executed: fc.array(fc.string({ maxLength: 10 })),
      resource_usage: fc.record({ cpu_usage: fc.nat(), memory_usage: fc.nat(), disk: fc.nat() }, { requiredKeys: [] }),
      extra: json,
      session_id: fc.string({ maxLength: 10 }),
    },
    { requiredKeys: [] },
  );

  it("flat, under data, in a section and in a section under data are the same draft", () => {
    fc.assert(
      fc.property(content, (members) => {
        const about = { ...ids, timestamp: at };
        const drafts = [
          { action: "interaction_complete", ...about, ...members },
          { action: "report_interaction_complete", data: { ...about, ...members } },
          { action: "complete", ...about, result_data: members },
          { action: "interaction_complete", ...about, processing_data: members },
          { action: "interaction_complete", data: { ...about, result_data: members } },
          { action: "interaction_complete", ...about, data: { processing_data: members } },
        ].map(contentOf);
        for (const draft of drafts.slice(1)) expect(draft).toEqual(drafts[0]);
      }),
    );
  });

  it("what has no field of its own is in the payload as it was", () => {
    const own = new Set(["user_id", "request_type", "input_size", "input_bytes", "parameters", "quality_level", "privacy_level"]);
    const more = ["session_id", "trace_parent", "parent_interaction_id", "routing_decision_id", "labels", "metadata", "mcp_type"];
    const free = fc.dictionary(
      fc.string({ minLength: 1 }).filter((key) => !own.has(key) && !more.includes(key)),
      json,
      { minKeys: 1 },
    );
    fc.assert(
      fc.property(free, (request_data) => {
        const { detail } = draftIn({ action: "interaction_start", ...ids, timestamp: at, request_data });
        const kept = detail?.payload?.kind === "json" ? detail.payload.json : undefined;
        expect(canonicalJson(kept ?? null)).toBe(canonicalJson(request_data));
      }),
    );
  });

  it("a value that two places claim loses neither", () => {
    const { detail } = draftIn({ action: "start", ...ids, timestamp: at, note: 1, request_data: { note: 2 } });
    expect(detail?.payload).toMatchObject({ json: { note: 1, "request_data.note": 2 } });
  });

  it("the content that is stored does not depend on the order of members", () => {
    fc.assert(
      fc.property(content, (members) => {
        const backwards = Object.fromEntries(Object.entries(members).reverse());
        const texts = [members, backwards].map((result_data) =>
          contentText(draftIn({ action: "complete", ...ids, timestamp: at, result_data }), String),
        );
        expect(texts[0]).toBe(texts[1]);
      }),
    );
  });
});
