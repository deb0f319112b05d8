import { connect } from "node:net";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type RunningCoordinator, startCoordinatorProcess } from "../support/coordinator.js";
import { ApiCaller, type ApiRequest, keyTable } from "../support/http-api.js";
import { freshName } from "../support/new-event.js";
import { storeKinds } from "../support/open-store.js";
import { type RunningPostgres, startPostgres } from "../support/postgres.js";

const ocrKey = "sk-test-of-ocr-0123456789";
const allKey = "sk-test-of-all-0123456789";
const reports = "/api/v2/interactions";

let coordinator: RunningCoordinator;
let api: ApiCaller;
let postgres: RunningPostgres | undefined;

async function open(kind: string, config = ""): Promise<void> {
  if (kind === "postgres") postgres = await startPostgres();
  coordinator = await startCoordinatorProcess({
    ...(postgres === undefined ? {} : { databaseUrl: postgres.url }),
    config: config + keyTable("ocr", "ocr", ocrKey) + keyTable("all", "*", allKey),
  });
  api = await ApiCaller.open(coordinator.webUrl);
}

async function close(): Promise<void> {
  await coordinator?.stop();
  await postgres?.[Symbol.asyncDispose]();
  postgres = undefined;
}

const nowSeconds = (): number => Math.floor(Date.now() / 1_000);
const startOf = (interaction_id: string, more: object = {}) => ({
  action: "interaction_start",
  interaction_id,
  mcp_id: "ocr",
  timestamp: nowSeconds(),
  ...more,
});
const post = (body: unknown, more: ApiRequest = {}) => api.ask(reports, { key: ocrKey, body, ...more });

/** The merged interaction, over the RPC that gRPC clients use too. */
async function readInteraction(interactionId: string): Promise<unknown> {
  const response = await fetch(`${coordinator.webUrl}/mcp.coordinator.v1.InteractionService/GetInteraction`, {
    method: "POST",
    headers: { "content-type": "application/json", authorization: `Bearer ${allKey}` },
    body: JSON.stringify({ mcpId: "ocr", interactionId, includeEvents: true }),
  });
  return response.json();
}

describe.each(storeKinds)("the HTTP API on the $kind store", ({ kind, skip }) => {
  beforeAll(async () => {
    if (skip === undefined) await open(kind);
  });
  afterAll(close);
  const story = it.skipIf(skip !== undefined);

  story("stores what the reporter guide sends, byte for byte, and answers as its client reads it", async () => {
    const id = freshName("guide");
    const at = Date.now() / 1_000;
    const bodies = [
      `{"action": "interaction_start", "interaction_id": "${id}", "mcp_id": "ocr", "timestamp": ${at - 3}, "request_data": {"user_id": "user_12345", "request_type": "ocr_processing", "input_size": 1024, "parameters": {"quality_level": "high"}}}`,
      `{"action": "interaction_progress", "interaction_id": "${id}", "mcp_id": "ocr", "timestamp": ${at - 2}, "progress_data": {"step": "ocr", "page": 3}}`,
      `{"action": "interaction_complete", "interaction_id": "${id}", "mcp_id": "ocr", "timestamp": ${at - 1}, "result_data": {"success": true, "output_size": 2048, "processing_time": 5.333, "quality_score": null, "adapter_used": null}}`,
    ];
    const requests = bodies.map((body) => requestOfGuide("POST", reports, `Content-Type: application/json\r\n`, body));
    const validate = requestOfGuide("POST", "/api/v2/validate", "", "", "Content-Type: application/octet-stream\r\n");
    const answers = await exchange([...requests, validate, requestOfGuide("GET", "/api/v2/health", "", undefined)]);
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200, 200]);
    expect(answers[0]?.body).toMatchObject({ status: "accepted", interaction_id: id, queue_position: expect.any(Number) });
    expect(await readInteraction(id)).toMatchObject({
      interaction: { state: "INTERACTION_STATE_COMPLETED", eventCount: 3, requestType: "ocr_processing", processingTime: "5.333s" },
      events: [{ start: { inputBytes: "1024", qualityLevel: "high" } }, { progress: { step: "ocr", data: { json: { page: 3 } } } }, {}],
    });
  });

  story("is one front door: what came by RPC is a duplicate over HTTP, in every documented form", async () => {
    const interactionId = freshName("same");
    const at = nowSeconds();
    const event = {
      ...{ mcpId: "ocr", interactionId, occurredAt: new Date(at * 1_000).toISOString() },
      complete: { success: true, processingTime: "5.333s", qualityScore: 0.95 },
    };
    const rpc = await fetch(`${coordinator.webUrl}/mcp.coordinator.v1.InteractionService/ReportInteractions`, {
      method: "POST",
      headers: { "content-type": "application/json", authorization: `Bearer ${ocrKey}` },
      body: JSON.stringify({ events: [event] }),
    });
    expect(await rpc.json()).toMatchObject({ acks: [{ status: "EVENT_STATUS_STORED" }] });
    const content = { processing_time: 5.333, success: true, quality_score: 0.95 };
    const about = { interaction_id: interactionId, timestamp: at };
    const forms = [
      { action: "report_interaction_complete", data: { ...about, ...content } },
      { action: "interaction_complete", ...about, mcp_id: "ocr", result_data: content },
      { ...about, timestamp: new Date(at * 1_000).toISOString(), result_data: content },
      { event },
    ];
    for (const form of forms) expect((await post(form)).body.data).toMatchObject({ status: "accepted", verdict: "duplicate" });
    const several = await post({ events: [event, { ...event, interactionId: `${interactionId}-b` }, {}] });
    expect([several.status, several.body.data]).toMatchObject([
      207,
      {
        results: [
          { verdict: "duplicate" },
          { verdict: "stored" },
          { verdict: "invalid", error: { fields: [{ field: "event.interaction_id" }, {}, {}] } },
        ],
      },
    ]);
    expect(await readInteraction(interactionId)).toMatchObject({ interaction: { eventCount: 1, state: "INTERACTION_STATE_COMPLETED" } });
  });

  story("a result that says it failed makes the interaction fail", async () => {
    const id = freshName("failed");
    await post({ action: "interaction_complete", interaction_id: id, timestamp: nowSeconds(), result_data: { success: false } });
    expect(await readInteraction(id)).toMatchObject({ interaction: { state: "INTERACTION_STATE_FAILED" } });
  });

  story("the end of an interaction whose start never came is stored", async () => {
    const id = freshName("late");
    expect((await post({ action: "interaction_progress", interaction_id: id, timestamp: nowSeconds() })).status).toBe(200);
    expect(await readInteraction(id)).toMatchObject({ interaction: { missingStart: true, state: "INTERACTION_STATE_RUNNING" } });
  });

  story("a whole interaction in one body is its start and its end", async () => {
    const id = freshName("whole");
    const at = new Date(nowSeconds() * 1_000).toISOString();
    const answer = await post({
      ...{ interaction_id: id, mcp_id: "ocr", timestamp: at, request_data: { request_type: "ocr" } },
      ...{ result_data: { success: true }, processing_data: { processing_time: 2 } },
    });
    expect(answer.body.data).toMatchObject({ status: "accepted", results: [{ verdict: "stored" }, { verdict: "stored" }] });
    expect(await readInteraction(id)).toMatchObject({ interaction: { eventCount: 2, requestType: "ocr", processingTime: "2s" } });
  });

  story("of an array with faults the good ones are stored, and each has its verdict", async () => {
    const [one, two] = [freshName("good"), freshName("good")];
    const answer = await post([startOf(one), { action: "interaction_start" }, startOf("x", { mcp_id: "other" }), startOf(two)]);
    expect([answer.status, answer.body.status]).toEqual([207, "partial"]);
    expect(answer.body.data).toMatchObject({
      accepted: 2,
      refused: 2,
      results: [
        { index: 0, status: "accepted", interaction_id: one },
        { index: 1, status: "refused", verdict: "invalid", error: { fields: [{ field: "interaction_id", reason: "REQUIRED" }] } },
        { index: 2, status: "refused", verdict: "permission_denied" },
        { index: 3, status: "accepted", interaction_id: two },
      ],
    });
    expect(await readInteraction(two)).toMatchObject({ interaction: { eventCount: 1 } });
  });

  story("an array of 10,000 is taken, in full when it is sent again often enough; of 10,001 nothing is", async () => {
    const stem = freshName("many");
    const timestamp = nowSeconds();
    const many = Array.from({ length: 10_000 }, (_, i) => ({ action: "progress", interaction_id: `${stem}-${i % 100}`, timestamp, i }));
    let answer = await post(many);
    for (let round = 0; round < 20 && answer.status !== 200; round += 1) {
      expect([207, 503]).toContain(answer.status); // what the store was too slow for may be sent again
      answer = await post(many);
    }
    expect([answer.status, answer.body.data.accepted]).toEqual([200, 10_000]);
    const tooMany = await post([...many, startOf(`${stem}-0`)]);
    expect([tooMany.status, tooMany.body.detail]).toEqual([400, "10001 reports in one array; at most 10000 are allowed"]);
    expect(await readInteraction(`${stem}-0`)).toMatchObject({ interaction: { eventCount: 100 } });
  });

  story("counts every report once", async () => {
    const before = (await api.ask("/api/v2/interactions/stats", { key: ocrKey })).body;
    const id = freshName("counted");
    await post(startOf(id));
    await post(startOf(id)); // a duplicate is processed
    await post([startOf(freshName("counted")), {}, {}]);
    await post("{");
    await post([]);
    await post(startOf("x", { mcp_id: "other" }));
    await expect
      .poll(async () => (await api.ask("/api/v2/interactions/stats", { key: ocrKey })).body.performance)
      .toMatchObject({
        cache_hit: false,
      });
    const after = (await api.ask("/api/v2/interactions/stats", { key: ocrKey })).body;
    const risen = (name: string) => Number(after.stats[name]) - Number(before.stats[name]);
    expect(["requests_received", "requests_processed", "requests_failed", "total_interactions", "active_interactions"].map(risen)).toEqual([
      8, 3, 5, 2, 2,
    ]);
    expect(after.queue_size).toBe(0);
    expect(after.data).toMatchObject({ stats: after.stats, timestamp: expect.any(Number) });
  });
});

describe("the HTTP API", () => {
  beforeAll(() => open("embedded"));
  afterAll(close);

  const withTime = (timestamp: unknown) => startOf("t", { timestamp });
  it.each<[string, ApiRequest, number, string, string[]]>([
    ["no JSON", { body: "{" }, 400, "UNDECODABLE_FRAME", []],
    ["no body", { body: "" }, 400, "UNDECODABLE_FRAME", []],
    ["no UTF-8", { body: new Uint8Array([0x22, 0xff, 0x22]) }, 400, "UNDECODABLE_FRAME", []],
    ["a number", { body: "5" }, 400, "FIELD_VIOLATION", [""]],
    ["an empty array", { body: [] }, 400, "FIELD_VIOLATION", [""]],
    ["an unknown action", { body: startOf("a", { action: "interaction_pause" }) }, 400, "FIELD_VIOLATION", ["action"]],
    ["no interaction id", { body: { ...startOf(""), interaction_id: undefined } }, 400, "FIELD_VIOLATION", ["interaction_id"]],
    ["no MCP with a key for all", { body: { ...startOf("m"), mcp_id: undefined }, key: allKey }, 400, "FIELD_VIOLATION", ["mcp_id"]],
    ["a number as interaction id", { body: { ...startOf(""), interaction_id: 5 } }, 400, "FIELD_VIOLATION", ["interaction_id"]],
    [
      "no interaction id under data",
      { body: { action: "start", data: { mcp_id: "ocr" } } },
      400,
      "FIELD_VIOLATION",
      ["data.interaction_id"],
    ],
    ["milliseconds", { body: withTime(Date.now()) }, 400, "FIELD_VIOLATION", ["timestamp"]],
    ["a time before 1970", { body: withTime(-5) }, 400, "FIELD_VIOLATION", ["timestamp"]],
    ["a time that is none", { body: withTime("2026-02-30T00:00:00Z") }, 400, "FIELD_VIOLATION", ["timestamp"]],
    ["a time that is true", { body: withTime(true) }, 400, "FIELD_VIOLATION", ["timestamp"]],
    ["a time two days ahead", { body: withTime(nowSeconds() + 172_800) }, 400, "CLOCK_SKEW", []],
    ["a time a month ago", { body: withTime(nowSeconds() - 31 * 86_400) }, 400, "TOO_OLD", []],
    [
      "a quality of 7",
      { body: { ...startOf("q"), action: "complete", result_data: { quality_score: 7 } } },
      400,
      "FIELD_VIOLATION",
      ["result_data.quality_score"],
    ],
    ["an event of 300 KiB", { body: startOf("big", { request_data: { text: "x".repeat(300_000) } }) }, 413, "MESSAGE_TOO_LARGE", []],
    ["a body of 5 MiB", { body: `["${"x".repeat(5 * 1024 * 1024)}"]` }, 413, "MESSAGE_TOO_LARGE", []],
    [
      "a gzip bomb",
      { body: gzipSync(Buffer.alloc(64 * 1024 * 1024, 0x20)), headers: { "content-encoding": "gzip" } },
      413,
      "MESSAGE_TOO_LARGE",
      [],
    ],
    ["gzip that is none", { body: "{}", headers: { "content-encoding": "gzip" } }, 400, "UNDECODABLE_FRAME", []],
    ["another encoding", { body: "{}", headers: { "content-encoding": "br" } }, 415, "CONTENT_TYPE_UNSUPPORTED", []],
    ["a form", { body: "a=b", headers: { "content-type": "application/x-www-form-urlencoded" } }, 415, "CONTENT_TYPE_UNSUPPORTED", []],
    [
      "another charset",
      { body: "{}", headers: { "content-type": "application/json; charset=utf-16" } },
      415,
      "CONTENT_TYPE_UNSUPPORTED",
      [],
    ],
    ["nesting of 10,000", { body: `${'{"a":'.repeat(10_000)}1${"}".repeat(10_000)}` }, 400, "FIELD_VIOLATION", [""]],
    ["another MCP's report", { body: startOf("o", { mcp_id: "other" }) }, 403, "MCP_NOT_ALLOWED", []],
    ["a key in the body that is not that of the header", { body: startOf("k", { api_key: allKey }) }, 400, "FIELD_VIOLATION", ["api_key"]],
    ["a wrong key", { body: startOf("k"), key: "nope" }, 401, "KEY_UNKNOWN", []],
    ["no key", { body: startOf("k"), key: undefined }, 401, "KEY_MISSING", []],
    ["a key in the body only", { body: startOf("k", { api_key: ocrKey }), key: undefined }, 401, "KEY_MISSING", []],
  ])("refuses %s", async (_what, request, status, reason, fields) => {
    const answer = await api.ask(reports, { method: "POST", key: ocrKey, ...request });
    const { error } = answer.body.data as { error: { reason: string; fields: { field: string }[] } };
    expect([answer.status, error.reason, error.fields.map(({ field }) => field)]).toEqual([status, reason, fields]);
    expect(answer.body).toMatchObject({ success: false, detail: answer.body.message });
    if (status === 401) expect([answer.body.message, answer.headers.get("www-authenticate")]).toEqual(["Invalid API key", "Bearer"]);
  });

  it("takes gzip, and gives the caller's request id back", async () => {
    const body = gzipSync(JSON.stringify(startOf(freshName("gzip"))));
    const answer = await post(body, { headers: { "content-encoding": "gzip", "x-request-id": "mine-1" } });
    expect([answer.status, answer.body.request_id, answer.headers.get("x-request-id")]).toEqual([200, "mine-1", "mine-1"]);
  });

  it("another content under one id is a conflict", async () => {
    const event_id = "01a1fce7-4ef9-7ff6-94fe-67c146872100";
    const at = { timestamp: nowSeconds() };
    await post(startOf("c", { event_id, ...at }));
    const answer = await post(startOf("c", { event_id, ...at, note: 1 }));
    expect([answer.status, answer.body.data.verdict]).toEqual([409, "conflict"]);
  });

  it.each([
    ["GET", reports, 405, "POST"],
    ["DELETE", "/api/v2/health", 405, "GET, HEAD"],
    ["GET", "/api/v2/nothing", 404, null],
    ["POST", "/api/interactions/stats", 404, null],
  ])("%s %s is %i in the envelope", async (method, path, status, allow) => {
    const answer = await api.ask(path, { method, key: ocrKey });
    expect([answer.status, answer.headers.get("allow"), answer.body.success]).toEqual([status, allow, false]);
  });

  it("under the unversioned path a key in the body stands in for the header, and the answer says what replaces it", async () => {
    const flat = {
      action: "report_interaction_start",
      api_key: ocrKey,
      data: { interaction_id: freshName("flat"), mcp_id: "ocr", request_info: {} },
    };
    const answer = await api.ask("/api/interactions", { body: flat });
    expect([answer.status, answer.headers.get("deprecation")]).toEqual([200, "@1767225600"]);
    expect(answer.headers.get("link")).toBe('</api/v2/interactions>; rel="successor-version"');
    const both = await api.ask("/api/interactions", { key: allKey, body: flat });
    expect([both.status, both.headers.get("deprecation")]).toEqual([400, "@1767225600"]);
    const mixed = await api.ask("/api/interactions", { body: [flat, { ...flat, api_key: allKey }] });
    expect(mixed.status).toBe(400);
    expect((await api.ask("/api/interactions", { body: { ...flat, api_key: "nope" } })).status).toBe(401);
    expect((await api.ask("/api/interactions", { body: { ...flat, api_key: undefined } })).status).toBe(401);
  });

  it("tells the MCP of a key whether it is valid, and nobody else", async () => {
    expect((await api.ask("/api/v2/validate", { method: "POST", key: ocrKey })).body.data).toEqual({
      ...{ valid: true, key_id: "ocr", mcp_id: "ocr", expires_at: null },
    });
    expect((await api.ask("/api/v2/validate", { method: "POST", key: "nope" })).status).toBe(401);
  });

  it("gives figures over time to those who may see them", async () => {
    const complete = (mcp_id: string, processing_time: number, success: boolean) =>
      api.ask(reports, {
        key: allKey,
        body: {
          action: "interaction_complete",
          mcp_id,
          interaction_id: freshName("p"),
          timestamp: nowSeconds(),
          result_data: { processing_time, success },
        },
      });
    await complete("perf-a", 1, true);
    await complete("perf-a", 3, false);
    await complete("perf-b", 8, true);
    const path = "/api/v2/performance/metrics";
    for (const range of ["24h", "last_24h", "1h"]) {
      expect((await api.ask(`${path}?time_range=${range}&mcp_id=perf-a`, { key: allKey })).body).toMatchObject({
        ...{ time_range: range, mcp_id: "perf-a", total_interactions: 2, success_rate: 0.5, error_rate: 0.5 },
        ...{ avg_processing_time: 2, min_processing_time: 1, max_processing_time: 3, p50_processing_time: 2 },
      });
    }
    expect((await api.ask(`${path}?mcp_id=perf-none`, { key: allKey })).body).toMatchObject({
      total_interactions: 0,
      avg_processing_time: 0,
    });
    expect((await api.ask(path, { key: ocrKey })).body.mcp_id).toBe("ocr");
    expect((await api.ask(`${path}?mcp_id=perf-a`, { key: ocrKey })).status).toBe(403);
    expect((await api.ask(path)).status).toBe(401);
    const faulty = await api.ask(`${path}?time_range=2h&mcp_id=${"x".repeat(300)}`, { key: allKey });
    expect([faulty.status, faulty.body.data.error]).toMatchObject([400, { fields: [{ field: "mcp_id" }, { field: "time_range" }] }]);
  });

  it("health and version ask nobody", async () => {
    expect((await api.ask("/api/v2/health")).body).toMatchObject({ status: "healthy", queue_size: 0, processor_running: true });
    expect((await api.ask("/api/v2/version")).body).toMatchObject({ api_version: "v2", coordinator_version: expect.any(String) });
  });

  it("GET /metrics has every way in, and no names", async () => {
    const response = await fetch(`${coordinator.webUrl}/metrics`);
    const text = await response.text();
    expect(response.headers.get("content-type")).toMatch(/^text\/plain; version=0.0.4/);
    for (const name of ["up", "received_total", "resolved_total", "refused_total", "dead_lettered_total"]) {
      for (const transport of ["grpc", "http", "redis", "table"]) {
        expect(text).toMatch(new RegExp(`^mcp_coordinator_transport_${name}\\{transport="${transport}"\\} \\d+$`, "m"));
      }
    }
    expect(text).toMatch(/^mcp_coordinator_transport_depth\{transport="http"\} 0$/m);
    expect(text).toMatch(/^mcp_coordinator_transport_lag_seconds\{transport="http"\} 0$/m);
    for (const phase of ["greeting", "opening", "live", "draining", "flushing"])
      expect(text).toMatch(new RegExp(`^mcp_coordinator_sessions\\{phase="${phase}"\\} \\d+$`, "m"));
    expect(text).toMatch(/^mcp_coordinator_commit_duration_seconds_count [1-9]/m);
    expect(text).toMatch(/^mcp_coordinator_commit_events_sum [1-9]/m);
    expect(text).toMatch(/^mcp_coordinator_routes_updates_total\{event="sent"\} \d+$/m);
    expect(text).not.toContain("ocr");
    const { stats } = (await api.ask("/api/v2/interactions/stats", { key: allKey })).body;
    expect(text).toContain(`mcp_coordinator_transport_received_total{transport="http"} ${stats.requests_received}`);
    expect((await fetch(`${coordinator.webUrl}/metrics`, { method: "POST" })).status).toBe(405);
  });

  it("a wrong key twenty times makes the address wait, but not those with a right key", async () => {
    const statuses = new Set<number>();
    let last: Awaited<ReturnType<ApiCaller["ask"]>> | undefined;
    for (let i = 0; i < 80 && last?.status !== 429; i += 1) {
      last = await api.ask("/api/v2/validate", { method: "POST", key: "nope" });
      statuses.add(last.status);
    }
    expect([...statuses].sort()).toEqual([401, 429]);
    expect(last?.body).toMatchObject({ success: false, message: "Rate limit exceeded", data: { error: { reason: "RATE_EXCEEDED" } } });
    expect(Number(last?.headers.get("retry-after"))).toBeGreaterThan(0);
    expect((await api.ask("/api/v2/validate", { method: "POST", key: ocrKey })).status).toBe(200);
  });
});

describe("the HTTP API with a bound on requests", () => {
  beforeAll(() => open("embedded", "[http]\nrequests_per_minute = 1\nrequest_burst = 2\n"));
  afterAll(close);

  it("holds each key to its own", async () => {
    const statuses = [];
    for (let i = 0; i < 3; i += 1) statuses.push((await post(startOf(`r${i}`))).status);
    expect(statuses).toEqual([200, 200, 429]);
    expect((await api.ask("/api/v2/validate", { method: "POST", key: allKey })).status).toBe(200);
  });
});

/** One request as aiohttp 3.14 writes it for the class of the reporter guide. */
function requestOfGuide(method: string, path: string, more: string, body: string | undefined, last = ""): string {
  const length = body === undefined ? "" : `Content-Length: ${Buffer.byteLength(body)}\r\n`;
  const { host } = new URL(coordinator.webUrl);
  const agent = "Accept: */*\r\nAccept-Encoding: gzip, deflate\r\nUser-Agent: Python/3.11 aiohttp/3.14.5\r\n";
  return `${method} ${path} HTTP/1.1\r\nHost: ${host}\r\nAuthorization: Bearer ${ocrKey}\r\n${more}${agent}${length}${last}\r\n${body ?? ""}`;
}

/** Sends raw requests one after the other on one connection, and reads their answers. */
async function exchange(requests: readonly string[]): Promise<readonly { readonly status: number; readonly body: unknown }[]> {
  const { hostname, port } = new URL(coordinator.webUrl);
  const socket = connect(Number(port), hostname);
  const answers: { status: number; body: unknown }[] = [];
  let text = "";
  try {
    for (const request of requests) {
      socket.write(request);
      const answer = await new Promise<{ status: number; body: unknown }>((resolve, reject) => {
        const onData = (chunk: Buffer) => {
          text += chunk.toString();
          const end = text.indexOf("\r\n\r\n");
          const length = Number(/content-length: (\d+)/i.exec(text)?.[1] ?? Number.NaN);
          if (end < 0 || Buffer.byteLength(text.slice(end + 4)) < length) return;
          socket.off("data", onData);
          const body = text.slice(end + 4, end + 4 + length);
          resolve({ status: Number(text.slice(9, 12)), body: JSON.parse(body) });
          text = text.slice(end + 4 + length);
        };
        socket.on("data", onData).once("error", reject);
      });
      answers.push(answer);
    }
  } finally {
    socket.destroy();
  }
  return answers;
}
